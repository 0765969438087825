// SPDX-License-Identifier: Apache-2.0
/** Who and what a file is to the guest and to the host: translated ids, mapped xattrs, labels, groups, inode flags. */
import fs from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import {
  FUSE_IOCTL_DIR,
  FuseInHeader,
  FuseOpcode,
  FuseSetattrValid,
  FuseStatx,
  FuseStatxOut,
} from '../../server/fuse/abi.ts'
import {
  concat,
  decodeOpenOut,
  encodeLabel,
  encodeName,
  encodeRequest,
  requests,
} from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { FuseError, LINUX_INIT_FLAGS, LINUX_INIT_FLAGS2, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const { O_RDWR, O_RDONLY, S_IFREG } = fs.constants
/** Where the operation's own bytes begin. */
const BODY = FuseInHeader.SIZE
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)
const word = (body: Uint8Array, offset: number): number =>
  new DataView(body.buffer, body.byteOffset).getUint32(offset, true)
const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer)
const text = (value: Uint8Array): string => Buffer.from(value).toString()

let bench: PassthroughBench
function start(options: Partial<PassthroughOptions>): void {
  bench = new PassthroughBench(options)
}
afterEach(() => {
  bench[Symbol.dispose]()
})

/** Works on an extended attribute as the host has it: through a share of the same directory that changes no names. */
function onHost<T>(file: string, work: (plain: PassthroughBench, nodeid: number) => T): T {
  using plain = new PassthroughBench({}, bench.path)
  return work(plain, plain.lookup(file).nodeid)
}
const hostXattr = (name: string, file: string): string =>
  onHost(file, (plain, nodeid) => text(plain.body(requests.getxattr(nodeid, name, 1000))))
const hostOwner = (...names: string[]): number[] => {
  const { uid, gid } = fs.lstatSync(bench.at(...names))
  return [uid, gid]
}

describe('translated ids', () => {
  const options: Partial<PassthroughOptions> = {
    translateUid: [
      { kind: 'map', from: 1000, to: 101_000, count: 100 },
      { kind: 'forbid-guest', from: 66, to: 0, count: 1 },
    ],
    translateGid: [
      { kind: 'squash-guest', from: 2000, to: 5, count: 10 },
      { kind: 'host', from: 5, to: 2000, count: 1 },
    ],
  }
  const by = { uid: 1001, gid: 2003 }

  test('whatever is made belongs to the host’s id and shows the guest’s', () => {
    start(options)
    fs.chmodSync(bench.path, 0o777)
    const entries = [
      bench.entry(requests.mkdir(ROOT, 'dir', 0o755, 0, by)),
      bench.entry(requests.mknod(ROOT, 'node', S_IFREG | 0o644, 0, 0, by)),
      bench.entry(requests.symlink(ROOT, 'symlink', 'x', by)),
      bench.entry(requests.create(ROOT, 'file', O_RDWR, 0o644, 0, by)),
      bench.entry(requests.tmpfile(ROOT, O_RDWR, 0o644, by)),
    ]
    for (const { attributes } of entries) expect([attributes.uid, attributes.gid]).toEqual([1001, 2000])
    for (const name of ['dir', 'node', 'symlink', 'file']) {
      expect(hostOwner(name)).toEqual([101_001, 5])
      const { nodeid, attributes } = bench.lookup(name)
      expect([attributes.uid, attributes.gid]).toEqual([1001, 2000])
      expect(bench.attributes(requests.getattr(nodeid))).toMatchObject({ uid: 1001, gid: 2000 })
      const stat = new DataView(bench.body(requests.statx(nodeid, 0x7ff)).slice(FuseStatxOut.stat).buffer)
      expect([stat.getUint32(FuseStatx.uid, true), stat.getUint32(FuseStatx.gid, true)]).toEqual([1001, 2000])
    }
    const listed = bench.readDirectory(ROOT, 4096, true).filter(({ entry }) => entry?.nodeid !== 0)
    expect(listed.map(({ entry }) => [entry?.attributes.uid, entry?.attributes.gid])).toEqual(
      listed.map(() => [1001, 2000]),
    )
    expect(listed.length).toBe(4)
  })

  test('chown, there and back', () => {
    start(options)
    fs.writeFileSync(bench.at('file'), '')
    const { nodeid } = bench.lookup('file')
    const valid = FuseSetattrValid.UID | FuseSetattrValid.GID
    const changed = bench.attributes(requests.setattr(nodeid, { valid, uid: 1099, gid: 2009 }))
    expect([changed.uid, changed.gid]).toEqual([1099, 2000])
    expect(hostOwner('file')).toEqual([101_099, 5])
    // Neither is translated where it is not given.
    bench.attributes(requests.setattr(nodeid, { valid: FuseSetattrValid.MODE, mode: 0o600, uid: 66 }))
    expect(hostOwner('file')).toEqual([101_099, 5])
  })

  test('a forbidden id makes nothing and owns nothing', () => {
    start(options)
    const forbidden = { uid: 66, gid: 0 }
    fs.writeFileSync(bench.at('file'), '')
    const { nodeid } = bench.lookup('file')
    for (const request of [
      requests.mkdir(ROOT, 'new', 0o755, 0, forbidden),
      requests.mknod(ROOT, 'new', S_IFREG | 0o644, 0, 0, forbidden),
      requests.symlink(ROOT, 'new', 'x', forbidden),
      requests.create(ROOT, 'new', O_RDWR, 0o644, 0, forbidden),
      requests.tmpfile(ROOT, O_RDWR, 0o644, forbidden),
      requests.setattr(nodeid, { valid: FuseSetattrValid.UID, uid: 66 }),
    ]) {
      expect(bench.errno(request)).toBe(Errno.EPERM)
    }
    expect(fs.readdirSync(bench.path)).toEqual(['file'])
    expect(hostOwner('file')).toEqual([0, 0])
  })
})

test.each<[string, Partial<PassthroughOptions>, (gid: number) => number]>([
  ['as they are', {}, (gid) => gid],
  ['translated', { translateGid: [{ kind: 'map', from: 7000, to: 4000, count: 100 }] }, (gid) => gid + 3000],
])('the supplementary groups that a request carries count in a set-group-id directory, %s', (_, options, guest) => {
  start(options)
  fs.mkdirSync(bench.at('dir'))
  fs.chownSync(bench.at('dir'), 0, 4000)
  fs.chmodSync(bench.at('dir'), 0o2777)
  const { nodeid } = bench.lookup('dir')
  const make = (name: string, groups?: readonly number[]): number[] => {
    const by = { uid: 1000, gid: 1000, ...(groups === undefined ? {} : { groups }) }
    const { attributes } = bench.entry(requests.create(nodeid, name, O_RDWR, 0o2755, 0, by))
    return [attributes.gid, attributes.mode & 0o7777]
  }
  // A member of the directory's group keeps the bit, anybody else loses it.
  const many = Array.from({ length: 30 }, (__, index) => guest(4029 - index))
  expect(make('member', [guest(4000)])).toEqual([guest(4000), 0o2755])
  expect(make('first of two', [guest(4000), guest(4001)])).toEqual([guest(4000), 0o2755])
  expect(make('second of two', [guest(4001), guest(4000)])).toEqual([guest(4000), 0o2755])
  expect(make('last of many', many)).toEqual([guest(4000), 0o2755])
  expect(make('of others', [guest(4001), guest(4002)])).toEqual([guest(4000), 0o755])
  expect(make('of none', [])).toEqual([guest(4000), 0o755])
  expect(make('other')).toEqual([guest(4000), 0o755])
})

test('one forbidden supplementary group is enough', () => {
  start({ translateGid: [{ kind: 'forbid-guest', from: 50, to: 0, count: 1 }] })
  expect(bench.errno(requests.mkdir(ROOT, 'a', 0o755, 0, { groups: [49, 50, 51] }))).toBe(Errno.EPERM)
  expect(bench.entry(requests.mkdir(ROOT, 'b', 0o755, 0, { groups: [49, 51] })).attributes.nlink).toBe(2)
})

describe('mapped xattrs', () => {
  test('have the guest’s names in the guest and the host’s on the host', () => {
    start({ xattrMap: ':map:trusted.:user.virtiofs.:' })
    fs.writeFileSync(bench.at('file'), '')
    const { nodeid } = bench.lookup('file')
    bench.body(requests.setxattr(nodeid, 'trusted.name', bytes('value')))
    bench.body(requests.setxattr(nodeid, 'user.name', bytes('other')))
    expect(hostXattr('user.virtiofs.trusted.name', 'file')).toBe('value')
    onHost('file', (plain, file) => plain.body(requests.setxattr(file, 'trusted.host', bytes('secret'))))
    expect(text(bench.body(requests.getxattr(nodeid, 'trusted.name', 100)))).toBe('value')
    const list = text(bench.body(requests.listxattr(nodeid, 1000)))
    expect(
      list
        .split('\0')
        .filter((name) => name !== '')
        .toSorted(),
    ).toEqual(['trusted.name', 'user.name'])
    const size = new DataView(bench.body(requests.listxattr(nodeid, 0)).slice().buffer).getUint32(0, true)
    expect(size).toBe(list.length)
    expect(bench.errno(requests.listxattr(nodeid, size - 1))).toBe(Errno.ERANGE)
    expect(bench.errno(requests.getxattr(nodeid, 'trusted.host', 100))).toBe(Errno.ENODATA)
    expect(bench.errno(requests.setxattr(nodeid, 'user.virtiofs.trusted.x', bytes('')))).toBe(Errno.EPERM)
    expect(bench.errno(requests.getxattr(nodeid, 'user.virtiofs.trusted.name', 100))).toBe(Errno.EPERM)
    bench.body(requests.removexattr(nodeid, 'trusted.name'))
    expect(bench.errno(requests.getxattr(nodeid, 'trusted.name', 100))).toBe(Errno.ENODATA)
  })

  test('file capabilities under another name go when the server must clear privileges', () => {
    start({ xattrMap: ':map::user.virtiofs.:', killprivV2: true })
    fs.writeFileSync(bench.at('file'), 'x')
    const { nodeid } = bench.lookup('file')
    const give = (): void => {
      bench.body(requests.setxattr(nodeid, 'security.capability', bytes('caps')))
    }
    const has = (): boolean => bench.errno(requests.getxattr(nodeid, 'security.capability', 100)) === 0
    const KILL_WRITE = 4
    const fh = bench.open(nodeid, O_RDWR)
    give()
    bench.body(requests.write(nodeid, fh, 0, bytes('y')))
    expect(has()).toBe(true)
    bench.body(requests.write(nodeid, fh, 0, bytes('y'), 0, KILL_WRITE))
    expect(has()).toBe(false)
    give()
    const valid = FuseSetattrValid.SIZE | FuseSetattrValid.KILL_SUIDGID
    bench.body(requests.setattr(nodeid, { valid, size: 0 }))
    expect(has()).toBe(false)
  })
})

describe('security labels', () => {
  const label = { name: 'security.selinux', value: bytes('system_u:object_r:test_t') }

  test('are there when the reply is, for every kind of file', () => {
    start({ securityLabel: 'always' })
    const entries = [
      ['file', bench.entry(requests.create(ROOT, 'file', O_RDWR, 0o644, 0, { label, groups: [7] }))],
      ['dir', bench.entry(requests.mkdir(ROOT, 'dir', 0o755, 0, { label }))],
      ['node', bench.entry(requests.mknod(ROOT, 'node', S_IFREG | 0o644, 0, 0, { label }))],
      ['link', bench.entry(requests.symlink(ROOT, 'link', 'nowhere', { label }))],
    ] as const
    for (const [name, { nodeid }] of entries) {
      expect(hostXattr('security.selinux', name)).toBe('system_u:object_r:test_t')
      expect(text(bench.body(requests.getxattr(nodeid, 'security.selinux', 100)))).toBe('system_u:object_r:test_t')
    }
    const temporary = bench.entry(requests.tmpfile(ROOT, O_RDWR, 0o644, { label }))
    expect(text(bench.body(requests.getxattr(temporary.nodeid, 'security.selinux', 100)))).toContain('test_t')
  })

  test.each([
    ['that the host has no name for', { name: 'security.test', value: bytes('x') }, Errno.EPERM],
    // More than Linux lets any attribute hold.
    ['that can’t be had', { name: label.name, value: new Uint8Array(65_537) }, Errno.E2BIG],
  ])('%s leave nothing behind', (_, impossible, errno) => {
    start({ securityLabel: 'always' })
    for (const request of [
      requests.create(ROOT, 'new', O_RDWR, 0o644, 0, { label: impossible }),
      requests.mkdir(ROOT, 'new', 0o755, 0, { label: impossible }),
      requests.mknod(ROOT, 'new', S_IFREG | 0o644, 0, 0, { label: impossible }),
      requests.symlink(ROOT, 'new', 'x', { label: impossible }),
      requests.tmpfile(ROOT, O_RDWR, 0o644, { label: impossible }),
    ]) {
      expect(bench.errno(request)).toBe(errno)
    }
    expect(fs.readdirSync(bench.path)).toEqual([])
    expect([bench.inodes, bench.handles]).toEqual([1, 0])
  })

  test('a file that somebody else has made by then keeps its own', () => {
    start({ securityLabel: 'always' })
    fs.writeFileSync(bench.at('theirs'), 'data')
    for (const value of [label.value, new Uint8Array(65_537)])
      bench.entry(requests.create(ROOT, 'theirs', O_RDWR, 0o644, 0, { label: { name: label.name, value } }))
    expect(fs.readFileSync(bench.at('theirs'), 'utf8')).toBe('data')
    expect(() => hostXattr(label.name, 'theirs')).toThrow(FuseError)
  })

  test.each([36, 37])('of guests of 7.%i stand behind the name', (minor) => {
    start({ securityLabel: 'always' })
    bench.body(requests.init({ minor, flags: LINUX_INIT_FLAGS, flags2: LINUX_INIT_FLAGS2 }))
    const plain = requests.mkdir(ROOT, 'dir', 0o755)
    const send = (...parts: Uint8Array[]): number => {
      const message = encodeRequest(FuseOpcode.MKDIR, { nodeid: ROOT }, ...parts)
      // Padding, which may hold anything.
      new DataView(message.buffer).setUint16(FuseInHeader.total_extlen, 0xffff, true)
      return bench.errno(message)
    }
    expect(send(plain.subarray(BODY), encodeLabel(label))).toBe(0)
    expect(hostXattr('security.selinux', 'dir')).toBe('system_u:object_r:test_t')
    for (let length = 1; length < encodeLabel(label).length; length++) {
      const cut = encodeLabel(label).subarray(0, length)
      expect([length, send(plain.subarray(BODY, BODY + 8), encodeName('cut'), cut)]).toEqual([length, Errno.EINVAL])
    }
    expect(send(plain.subarray(BODY, BODY + 8), encodeName('bare'))).toBe(0)
    expect(() => hostXattr('security.selinux', 'bare')).toThrow('errno 61')
    expect(fs.readdirSync(bench.path).toSorted()).toEqual(['bare', 'dir'])
  })

  test('are nothing without the option, and nonsense in them is refused', () => {
    start({})
    bench.entry(requests.mkdir(ROOT, 'dir', 0o755, 0, { label }))
    expect(() => hostXattr('security.selinux', 'dir')).toThrow('errno 61')
    const broken = requests.mkdir(ROOT, 'broken', 0o755, 0, { label })
    // The value's size, beyond the extension's end.
    new DataView(broken.buffer).setUint32(broken.length - encodeLabel(label).length + 8, 1000, true)
    expect(bench.errno(broken)).toBe(Errno.EINVAL)
  })
})

describe('IOCTL', () => {
  const GETFLAGS = 0x80086601
  const SETFLAGS = 0x40086602
  const FSGETXATTR = 0x801c581f
  const FSSETXATTR = 0x401c5820
  const NODUMP = 0x40
  /** Behind struct fuse_ioctl_out. */
  const DATA = 16

  test('gets and sets the flags of files and directories', () => {
    start({})
    const { nodeid, fh } = bench.create('file', O_RDWR)
    fs.mkdirSync(bench.at('dir'))
    const directory = bench.lookup('dir').nodeid
    const dirHandle = decodeOpenOut(bench.body(requests.opendir(directory))).fh
    for (const [inode, handle, kind] of [
      [nodeid, fh, 0],
      [directory, dirHandle, FUSE_IOCTL_DIR],
    ] as const) {
      const before = word(bench.body(requests.ioctl(inode, handle, GETFLAGS, undefined, 4, kind)), DATA)
      expect(before & NODUMP).toBe(0)
      bench.body(requests.ioctl(inode, handle, SETFLAGS, u32((before | NODUMP) >>> 0), 0, kind))
      const after = word(bench.body(requests.ioctl(inode, handle, GETFLAGS, undefined, 4, kind)), DATA)
      expect(after & NODUMP).toBe(NODUMP)
      const attributes = bench.body(requests.ioctl(inode, handle, FSGETXATTR, undefined, 28, kind))
      expect(attributes.length).toBe(DATA + 28)
      // FS_XFLAG_NODUMP
      expect(word(attributes, DATA) & 0x80).toBe(0x80)
      const changed = attributes.slice(DATA)
      new DataView(changed.buffer).setUint32(0, (word(attributes, DATA) & ~0x80) >>> 0, true)
      bench.body(requests.ioctl(inode, handle, FSSETXATTR, changed, 0, kind))
      expect(word(bench.body(requests.ioctl(inode, handle, GETFLAGS, undefined, 4, kind)), DATA) & NODUMP).toBe(0)
    }
    expect(bench.errno(requests.ioctl(nodeid, fh, GETFLAGS, undefined, 4, FUSE_IOCTL_DIR))).toBe(Errno.EBADF)
    expect(bench.errno(requests.ioctl(nodeid, 999, GETFLAGS, undefined, 4))).toBe(Errno.EBADF)
  })

  test('lets nobody out of the host’s project quota', () => {
    start({})
    const { nodeid, fh } = bench.create('file', O_RDWR)
    const attributes = bench.body(requests.ioctl(nodeid, fh, FSGETXATTR, undefined, 28)).slice(DATA)
    const project = attributes.slice()
    new DataView(project.buffer).setUint32(12, 77, true)
    expect(bench.errno(requests.ioctl(nodeid, fh, FSSETXATTR, project, 0))).toBe(Errno.EPERM)
    const inherit = attributes.slice()
    new DataView(inherit.buffer).setUint32(0, 0x200, true)
    expect(bench.errno(requests.ioctl(nodeid, fh, FSSETXATTR, inherit, 0))).toBe(Errno.EPERM)
    expect(bench.errno(requests.ioctl(nodeid, fh, SETFLAGS, u32(0x2000_0000), 0))).toBe(Errno.EPERM)
  })

  test('no other command reaches the host', () => {
    start({})
    const { nodeid, fh } = bench.create('file', O_RDWR)
    // FICLONE, FITRIM, FIFREEZE, FS_IOC_GETVERSION, FIBMAP, BLKDISCARD, TIOCSTI, and none.
    for (const command of [0x40049409, 0xc0185879, 0xc0045877, 0x80087601, 1, 0x1277, 0x5412, 0]) {
      expect(bench.errno(requests.ioctl(nodeid, fh, command, new Uint8Array(64)))).toBe(Errno.ENOTTY)
    }
  })

  test('sizes that don’t fit are refused, and so are changes of a read-only export', () => {
    start({})
    const { nodeid, fh } = bench.create('file', O_RDWR)
    expect(bench.errno(requests.ioctl(nodeid, fh, GETFLAGS, undefined, 3))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.ioctl(nodeid, fh, SETFLAGS, new Uint8Array(3), 0))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.ioctl(nodeid, fh, FSSETXATTR, new Uint8Array(27), 0))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.ioctl(nodeid, fh, FSGETXATTR, undefined, 28), 16 + 16 + 27)).toBe(Errno.EINVAL)
    bench[Symbol.dispose]()
    start({ readOnly: true })
    fs.writeFileSync(bench.at('file'), '')
    const file = bench.lookup('file').nodeid
    const handle = bench.open(file, O_RDONLY)
    expect(bench.errno(requests.ioctl(file, handle, GETFLAGS, undefined, 4))).toBe(0)
    expect(bench.errno(requests.ioctl(file, handle, SETFLAGS, concat(u32(0)), 0))).toBe(Errno.EROFS)
  })
})
