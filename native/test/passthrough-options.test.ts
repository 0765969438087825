// SPDX-License-Identifier: Apache-2.0
/** What each option of the passthrough file system changes for the guest. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { VIEWABLE_TYPES } from '../../server/dax/viewable.ts'
import { Errno } from '../../server/errno.ts'
import {
  FUSE_ATTR_DAX,
  FUSE_ATTR_SUBMOUNT,
  FUSE_SETUPMAPPING_FLAG_READ,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  FuseInitFlag,
  FuseOpenFlag,
} from '../../server/fuse/abi.ts'
import { decodeInitOut, decodeOpenOut, requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, MAPPED, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_DIRECT, O_NONBLOCK, O_SYNC } = fs.constants
const DAY = 86400
const FLAGS_WITHOUT_DAX = LINUX_INIT_FLAGS & ~FuseInitFlag.MAP_ALIGNMENT

let bench: PassthroughBench
function start(options: Partial<PassthroughOptions>): void {
  bench = new PassthroughBench(options)
  fs.writeFileSync(bench.at('file'), 'contents')
}
afterEach(() => {
  bench[Symbol.dispose]()
})

function negotiatedFlags(flags = LINUX_INIT_FLAGS): number {
  return decodeInitOut(bench.body(requests.init({ flags }))).flags
}

describe('cache', () => {
  test.each([
    ['never', 0, FuseOpenFlag.DIRECT_IO, 0],
    ['metadata', DAY, FuseOpenFlag.DIRECT_IO, FuseOpenFlag.KEEP_CACHE | FuseOpenFlag.CACHE_DIR],
    ['auto', 1, 0, FuseOpenFlag.CACHE_DIR],
    ['always', DAY, FuseOpenFlag.KEEP_CACHE, FuseOpenFlag.KEEP_CACHE | FuseOpenFlag.CACHE_DIR],
  ] as const)('%s', (cache, seconds, fileFlags, directoryFlags) => {
    start({ cache })
    bench.body(requests.init({ minor: 35, flags: FLAGS_WITHOUT_DAX }))
    const { nodeid, entryValid, attrValid } = bench.lookup('file')
    expect([entryValid, attrValid]).toEqual([seconds, seconds])
    expect(new DataView(bench.body(requests.getattr(nodeid)).buffer).getBigUint64(0, true)).toBe(BigInt(seconds))
    expect(decodeOpenOut(bench.body(requests.open(nodeid, O_RDWR))).openFlags).toBe(fileFlags)
    expect(decodeOpenOut(bench.body(requests.opendir(ROOT))).openFlags).toBe(directoryFlags)
    expect(decodeOpenOut(bench.body(requests.create(ROOT, 'new', O_RDWR, 0o644)), 128).openFlags).toBe(fileFlags)
  })
})

test.each([
  [0o755, DAY],
  [0o4755, 0],
  [0o2644, 0],
  [0o1644, DAY],
])('attributes of a file with mode %o are kept for %i s', (mode, seconds) => {
  start({ cache: 'always' })
  fs.chmodSync(bench.at('file'), mode)
  const { nodeid, attrValid } = bench.lookup('file')
  expect(attrValid).toBe(seconds)
  expect(new DataView(bench.body(requests.getattr(nodeid)).buffer).getBigUint64(0, true)).toBe(BigInt(seconds))
})

test.each(['never', 'auto'] as const)(
  'a guest with all files in the window, cache %s: nothing to invalidate',
  (cache) => {
    start({ cache })
    bench.body(requests.init({ minor: 35, flags: LINUX_INIT_FLAGS }))
    const { nodeid } = bench.lookup('file')
    expect(decodeOpenOut(bench.body(requests.open(nodeid, O_RDWR))).openFlags).toBe(FuseOpenFlag.KEEP_CACHE)
    const created = bench.body(requests.create(ROOT, 'new', O_RDWR, 0o644))
    expect(decodeOpenOut(created, 128).openFlags).toBe(FuseOpenFlag.KEEP_CACHE)
  },
)

test('a guest of 7.35 does not know of files that need no FLUSH', () => {
  start({})
  const openFlags = (flags: number): number => {
    const { nodeid } = bench.lookup('file')
    return decodeOpenOut(bench.body(requests.open(nodeid, flags))).openFlags
  }
  bench.body(requests.init({ flags: FLAGS_WITHOUT_DAX }))
  bench.body(requests.init({ minor: 35, flags: FLAGS_WITHOUT_DAX }))
  expect(openFlags(O_RDONLY)).toBe(0)
})

test('what is negotiated by default, and what options add', () => {
  const optional =
    FuseInitFlag.WRITEBACK_CACHE |
    FuseInitFlag.HANDLE_KILLPRIV_V2 |
    FuseInitFlag.ATOMIC_O_TRUNC |
    FuseInitFlag.POSIX_ACL |
    FuseInitFlag.DONT_MASK |
    FuseInitFlag.SETXATTR_EXT
  start({})
  expect(negotiatedFlags()).toBe(LINUX_INIT_FLAGS & ~optional)
  bench[Symbol.dispose]()
  start({ writeback: true, killprivV2: true, posixAcl: 'always' })
  expect(negotiatedFlags(FLAGS_WITHOUT_DAX)).toBe(FLAGS_WITHOUT_DAX)
  // Nobody would see what the guest writes through the window.
  const trusting = FuseInitFlag.WRITEBACK_CACHE | FuseInitFlag.HANDLE_KILLPRIV_V2 | FuseInitFlag.ATOMIC_O_TRUNC
  expect(negotiatedFlags()).toBe(LINUX_INIT_FLAGS & ~trusting)
  bench[Symbol.dispose]()
  // Targets of links would stay for ever, and there is nothing to write back.
  start({ cache: 'never', writeback: true })
  const kept = FuseInitFlag.CACHE_SYMLINKS | FuseInitFlag.DO_READDIRPLUS | FuseInitFlag.READDIRPLUS_AUTO
  expect(negotiatedFlags(FLAGS_WITHOUT_DAX)).toBe(FLAGS_WITHOUT_DAX & ~optional & ~kept)
  bench[Symbol.dispose]()
  start({ readdirplus: false, announceSubmounts: false, posixAcl: 'always', xattr: false })
  const without = FuseInitFlag.DO_READDIRPLUS | FuseInitFlag.READDIRPLUS_AUTO | FuseInitFlag.SUBMOUNTS
  expect(negotiatedFlags()).toBe(LINUX_INIT_FLAGS & ~optional & ~without)
})

test('a read-only export', () => {
  start({ readOnly: true })
  const { nodeid } = bench.lookup('file')
  expect(bench.errno(requests.open(nodeid, O_RDWR))).toBe(Errno.EROFS)
  expect(bench.errno(requests.create(ROOT, 'new', O_RDWR, 0o644))).toBe(Errno.EROFS)
  expect(bench.errno(requests.setattr(nodeid, { valid: 1, mode: 0 }))).toBe(Errno.EROFS)
  expect(bench.errno(requests.setupmapping(nodeid, 0, 4096, 0, 3))).toBe(Errno.EROFS)
  expect(bench.errno(requests.setupmapping(nodeid, 0, 4096, 0, 2))).toBe(MAPPED)
  const fh = bench.open(nodeid, O_RDONLY)
  expect(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString()).toBe('contents')
  expect(bench.errno(requests.write(nodeid, fh, 0, new Uint8Array(1)))).toBe(Errno.EROFS)
})

test('a write-back cache can read what it opened for writing, and places its own pages', () => {
  start({ writeback: true })
  bench.body(requests.init({ flags: FLAGS_WITHOUT_DAX }))
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, O_WRONLY | O_APPEND)
  expect(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString()).toBe('contents')
  // FUSE_WRITE_CACHE, through a handle with O_APPEND.
  bench.body(requests.write(nodeid, fh, 2, Buffer.from('XX'), O_APPEND, 1))
  expect(fs.readFileSync(bench.at('file'), 'utf8')).toBe('coXXents')
})

const linkTarget = (fd: string): string => {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}
const openFlags = (fd: string): number =>
  Number.parseInt(/flags:\s*(\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8)

/** What the file's descriptor has, with which the guest's open ends. */
function hostFlags(options: Partial<PassthroughOptions>, guestFlags: number): number {
  start(options)
  const { nodeid } = bench.lookup('file')
  bench.open(nodeid, O_RDWR | guestFlags)
  const path = fs.realpathSync(bench.at('file'))
  const flags = fs
    .readdirSync('/proc/self/fd')
    .filter((fd) => linkTarget(fd) === path)
    .map(openFlags)
  // Not the O_PATH one of the inode.
  return flags.find((value) => (value & O_RDWR) !== 0) ?? 0
}

describe('open flags on the host', () => {
  test('O_DIRECT is one by option only', () => {
    expect(hostFlags({}, O_DIRECT) & O_DIRECT).toBe(0)
    bench[Symbol.dispose]()
    expect(hostFlags({ allowDirectIo: true }, O_DIRECT) & O_DIRECT).toBe(O_DIRECT)
  })

  test.each(['never', 'prefer'] as const)(
    'O_NONBLOCK is for the opening alone, with handles %s',
    (inodeFileHandles) => {
      const flags = hostFlags({ inodeFileHandles }, O_NONBLOCK | O_SYNC)
      expect(flags & (O_RDWR | O_NONBLOCK | O_SYNC)).toBe(O_RDWR | O_SYNC)
    },
  )
})

function mountBelow(): void {
  fs.mkdirSync(bench.at('mount'))
  execFileSync('mount', ['-t', 'tmpfs', 'viewfsd-test', bench.at('mount')])
  fs.writeFileSync(bench.at('mount', 'inner'), '')
}

describe('another file system below the shared directory', () => {
  afterEach(() => {
    execFileSync('umount', ['-l', bench.at('mount')])
  })

  test('is announced', () => {
    start({})
    mountBelow()
    const { nodeid, attributes } = bench.lookup('mount')
    expect(attributes.flags).toBe(FUSE_ATTR_SUBMOUNT)
    expect(bench.attributes(requests.getattr(nodeid)).flags).toBe(FUSE_ATTR_SUBMOUNT)
    expect(bench.lookup('inner', nodeid).attributes.flags).toBe(0)
    expect(bench.lookup('file').attributes.flags).toBe(0)
    expect(bench.errno(requests.syncfs(nodeid))).toBe(0)
    expect(bench.errno(requests.rename(ROOT, 'file', nodeid, 'file'))).toBe(Errno.EXDEV)
  })

  test('is just a directory without the option', () => {
    start({ announceSubmounts: false })
    mountBelow()
    expect(bench.lookup('mount').attributes.flags).toBe(0)
  })

  test('a directory that is mounted twice is two inodes', () => {
    start({})
    fs.mkdirSync(bench.at('dir'))
    fs.mkdirSync(bench.at('mount'))
    execFileSync('mount', ['--bind', bench.at('dir'), bench.at('mount')])
    const original = bench.lookup('dir')
    const bound = bench.lookup('mount')
    expect(bound.attributes.ino).toBe(original.attributes.ino)
    expect(bound.nodeid).not.toBe(original.nodeid)
  })
})

/** Which of these have FUSE_ATTR_DAX. */
function marks(...names: string[]): boolean[] {
  return names.map((name) => (bench.lookup(name).attributes.flags & FUSE_ATTR_DAX) !== 0)
}

function make(name: string, size: number, mtime?: number): void {
  fs.writeFileSync(bench.at(name), Buffer.alloc(size))
  if (mtime !== undefined) fs.utimesSync(bench.at(name), mtime, mtime)
}

describe('dax policy', () => {
  test('marks no file unless it is enabled', () => {
    start({})
    expect(marks('file')).toEqual([false])
  })

  test('marks regular files alone', () => {
    start({ daxPolicy: { enabled: true, minSizeBytes: 0, minAgeSeconds: 0 } })
    fs.mkdirSync(bench.at('directory'))
    fs.symlinkSync('file', bench.at('link'))
    execFileSync('mkfifo', [bench.at('fifo')])
    expect(marks('file', 'directory', 'link', 'fifo')).toEqual([true, false, false, false])
  })

  test('goes by size and by the age of the data', () => {
    start({ daxPolicy: { enabled: true, minSizeBytes: 4096, minAgeSeconds: 3600 } })
    const old = Date.now() / 1000 - 7200
    make('small', 4095, old)
    make('large', 4096, old)
    make('fresh', 4096)
    make('future', 4096, Date.now() / 1000 + 7200)
    expect(marks('small', 'large', 'fresh', 'future')).toEqual([false, true, false, false])
  })

  test('leaves out the file systems that the window can not show', () => {
    const policy = { enabled: true, minSizeBytes: 0, minAgeSeconds: 0 }
    start({ daxPolicy: { ...policy, fileSystems: VIEWABLE_TYPES } })
    const mounted = ['tmpfs', 'ramfs'] as const
    try {
      for (const type of mounted) {
        fs.mkdirSync(bench.at(type))
        execFileSync('mount', ['-t', type, 'viewfsd-test', bench.at(type)])
        fs.writeFileSync(bench.at(type, 'inner'), '')
      }
      execFileSync('mount', ['--bind', bench.at('ramfs', 'inner'), bench.at('file')])
      const inner = (type: string): boolean => {
        const { nodeid } = bench.lookup(type)
        const { attributes } = bench.lookup('inner', nodeid)
        return (attributes.flags & FUSE_ATTR_DAX) !== 0
      }
      expect(mounted.map(inner)).toEqual([true, false])
      expect(marks('file')).toEqual([false])
    } finally {
      for (const name of ['file', ...mounted]) execFileSync('umount', ['-l', bench.at(name)])
    }
  })
})

/** Bytes of the file of holes that the disk has. */
const allocated = (): number => fs.statSync(bench.at('mount', 'sparse')).blocks * 512

describe('dax reserve', () => {
  const RANGE = 2 * 1024 * 1024
  const PAGE = 4096
  const SIZE = 64 * PAGE
  const WRITABLE = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE

  afterEach(() => {
    execFileSync('umount', ['-l', bench.at('mount')])
  })

  /** A file of holes, but for its first page, on a disk of its own. @returns its nodeid */
  function sparse(daxReserve: boolean): number {
    start({ daxReserve })
    bench.body(requests.init({ flags: LINUX_INIT_FLAGS }))
    fs.mkdirSync(bench.at('mount'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'viewfsd-test', bench.at('mount')])
    fs.writeFileSync(bench.at('mount', 'sparse'), Buffer.alloc(PAGE, 'x'))
    fs.truncateSync(bench.at('mount', 'sparse'), SIZE)
    return bench.lookup('sparse', bench.lookup('mount').nodeid).nodeid
  }

  const map = (nodeid: number, flags: number, foffset = 0): number =>
    bench.errno(requests.setupmapping(nodeid, foffset, RANGE, 0, flags))

  test('fills the holes of a range that is mapped for writing, up to the end of the file', () => {
    const nodeid = sparse(true)
    expect(map(nodeid, FUSE_SETUPMAPPING_FLAG_READ)).toBe(MAPPED)
    expect(allocated()).toBe(PAGE)
    expect(map(nodeid, WRITABLE)).toBe(MAPPED)
    expect(allocated()).toBe(SIZE)
    const contents = fs.readFileSync(bench.at('mount', 'sparse'))
    expect(contents.equals(Buffer.concat([Buffer.alloc(PAGE, 'x'), Buffer.alloc(SIZE - PAGE)]))).toBe(true)
  })

  test('leaves a file without holes, and what lies beyond its end, alone', () => {
    const nodeid = sparse(true)
    fs.writeFileSync(bench.at('mount', 'sparse'), Buffer.alloc(SIZE, 'y'))
    fs.utimesSync(bench.at('mount', 'sparse'), 1, 1)
    expect(map(nodeid, WRITABLE)).toBe(MAPPED)
    expect(map(nodeid, WRITABLE, RANGE)).toBe(MAPPED)
    const { mtimeMs, size } = fs.statSync(bench.at('mount', 'sparse'))
    expect([mtimeMs, size, allocated()]).toEqual([1000, SIZE, SIZE])
  })

  test.each([
    [true, Errno.ENOSPC],
    [false, MAPPED],
  ])('on a full disk with %s', (daxReserve, errno) => {
    const nodeid = sparse(daxReserve)
    expect(() => fs.writeFileSync(bench.at('mount', 'fill'), Buffer.alloc(2 * 1024 * 1024))).toThrow(/ENOSPC/)
    expect(map(nodeid, FUSE_SETUPMAPPING_FLAG_READ)).toBe(MAPPED)
    expect(map(nodeid, WRITABLE)).toBe(errno)
    expect(allocated()).toBe(PAGE)
  })
})
