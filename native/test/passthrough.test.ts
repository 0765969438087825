// SPDX-License-Identifier: Apache-2.0
/** The passthrough file system against a real directory: what a guest asks, and what the host then has. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseInitFlag, FuseSetattrValid } from '../../server/fuse/abi.ts'
import { decodeEntry, decodeOpenOut, requests } from '../../server/fuse/testing/messages.ts'
import { LINUX_INIT_FLAGS, MAPPED, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const { O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_APPEND, O_EXCL, S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = fs.constants
const S_IFIFO = 0o10000
const S_IFSOCK = 0o140000
const S_IFCHR = 0o20000

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

const set = (nodeid: number, valid: number, fields: Parameters<typeof requests.setattr>[1]): Uint8Array =>
  requests.setattr(nodeid, { ...fields, valid })
const countDescriptors = (): number => fs.readdirSync('/proc/self/fd').length

let bench: PassthroughBench
beforeEach(() => {
  bench = new PassthroughBench()
})
afterEach(() => {
  bench[Symbol.dispose]()
})

describe('inodes', () => {
  test('a file is what the host says it is', () => {
    fs.writeFileSync(bench.at('file'), 'hello')
    fs.chownSync(bench.at('file'), 123, 456)
    fs.chmodSync(bench.at('file'), 0o4751)
    fs.utimesSync(bench.at('file'), 1_000_000_000.25, 5.5)
    const host = fs.statSync(bench.at('file'), { bigint: true })
    const { nodeid, generation, entryValid, attrValid, attributes } = bench.lookup('file')
    expect(nodeid).toBeGreaterThan(1)
    // Attributes with set-id bits are not kept.
    expect([generation, entryValid, attrValid]).toEqual([0, 1, 0])
    expect(attributes).toEqual({
      ino: Number(host.ino),
      size: 5,
      blocks: Number(host.blocks),
      atime: 1_000_000_000,
      mtime: 5,
      ctime: Number(host.ctimeNs / 1_000_000_000n),
      atimensec: 250_000_000,
      mtimensec: 500_000_000,
      ctimensec: Number(host.ctimeNs % 1_000_000_000n),
      mode: S_IFREG | 0o4751,
      nlink: 1,
      uid: 123,
      gid: 456,
      rdev: 0,
      blksize: Number(host.blksize),
      flags: 0,
    })
    expect(bench.attributes(requests.getattr(nodeid))).toEqual(attributes)
  })

  test('lookups of one inode give one nodeid, and are counted', () => {
    fs.writeFileSync(bench.at('file'), '')
    fs.linkSync(bench.at('file'), bench.at('link'))
    const { nodeid } = bench.lookup('file')
    expect(bench.lookup('file').nodeid).toBe(nodeid)
    expect(bench.lookup('link').nodeid).toBe(nodeid)
    expect(bench.inodes).toBe(2)
    bench.send(requests.forget(nodeid, 2))
    expect(bench.errno(requests.getattr(nodeid))).toBe(0)
    bench.send(requests.forget(nodeid, 1))
    expect(bench.errno(requests.getattr(nodeid))).toBe(Errno.ESTALE)
    expect(bench.inodes).toBe(1)
    // Never the same nodeid for another life of the inode.
    expect(bench.lookup('file').nodeid).toBeGreaterThan(nodeid)
  })

  test('a hostile FORGET takes neither the root nor more than there is', () => {
    fs.writeFileSync(bench.at('file'), '')
    const { nodeid } = bench.lookup('file')
    bench.send(requests.forget(ROOT, 0xffff_ffff_ffff_ffffn))
    bench.send(requests.forget(nodeid, 0xffff_ffff_ffff_ffffn))
    bench.send(requests.forget(nodeid, 1))
    bench.send(requests.forget(0x8000_0000_0000_0001n, 1))
    bench.send(requests.batchForget([[999, 1]]))
    expect(bench.inodes).toBe(1)
    expect(bench.lookup('file').attributes.size).toBe(0)
  })

  test('a name that has come to mean another file leads to that one', () => {
    fs.writeFileSync(bench.at('file'), 'one')
    const first = bench.lookup('file')
    fs.renameSync(bench.at('file'), bench.at('old'))
    fs.writeFileSync(bench.at('file'), 'second')
    const second = bench.lookup('file')
    expect(second.nodeid).not.toBe(first.nodeid)
    expect(bench.attributes(requests.getattr(first.nodeid)).size).toBe(3)
    expect(bench.lookup('old').nodeid).toBe(first.nodeid)
  })

  test('missing names and missing nodeids', () => {
    expect(bench.errno(requests.lookup(ROOT, 'nothing'))).toBe(Errno.ENOENT)
    expect(bench.errno(requests.lookup(77, 'x'))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.getattr(77))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.open(77, 0))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.mkdir(77, 'x', 0o755))).toBe(Errno.ESTALE)
  })

  test('names of 255 bytes in any encoding', () => {
    const name = Buffer.alloc(255)
    for (let index = 0; index < 255; index++) name[index] = index + 1 === 0x2f ? 0x80 : index + 1
    const created = bench.entry(requests.mknod(ROOT, name, S_IFREG | 0o600))
    expect(bench.lookup(name).nodeid).toBe(created.nodeid)
    const [hostName] = fs.readdirSync(Buffer.from(bench.path), { encoding: 'buffer' })
    expect(hostName?.equals(name)).toBe(true)
    const entries = bench.readDirectory(ROOT)
    expect(entries.some((entry) => Buffer.from(entry.name).equals(name))).toBe(true)
    expect(bench.errno(requests.unlink(ROOT, name))).toBe(0)
    expect(fs.readdirSync(bench.path)).toEqual([])
  })

  test('STATX has the birth time', () => {
    fs.writeFileSync(bench.at('file'), 'hello')
    const { nodeid } = bench.lookup('file')
    const host = fs.statSync(bench.at('file'), { bigint: true })
    const body = bench.body(requests.statx(nodeid, 0xfff))
    const view = new DataView(body.buffer)
    expect(body.length).toBe(288)
    expect(view.getUint32(32, true) & 0x800).toBe(0x800)
    expect(view.getBigUint64(32 + 40, true)).toBe(5n)
    const birth = view.getBigInt64(32 + 80, true) * 1_000_000_000n + BigInt(view.getUint32(32 + 88, true))
    expect(birth).toBe(host.birthtimeNs)
  })

  test('STATFS', () => {
    const body = bench.body(requests.statfs(ROOT))
    const host = fs.statfsSync(bench.path)
    const view = new DataView(body.buffer)
    expect(Number(view.getBigUint64(0, true))).toBe(host.blocks)
    expect([view.getUint32(40, true), view.getUint32(44, true)]).toEqual([host.bsize, 255])
  })

  test('SYNCFS takes a directory', () => {
    expect(bench.errno(requests.syncfs(ROOT))).toBe(0)
  })
})

describe('SETATTR', () => {
  test('mode, owner, size and times', () => {
    fs.writeFileSync(bench.at('file'), 'hello')
    const { nodeid } = bench.lookup('file')
    expect(bench.attributes(set(nodeid, FuseSetattrValid.MODE, { mode: 0o100600 })).mode).toBe(S_IFREG | 0o600)
    expect(bench.attributes(set(nodeid, FuseSetattrValid.UID, { uid: 7, gid: 99 }))).toMatchObject({ uid: 7, gid: 0 })
    expect(bench.attributes(set(nodeid, FuseSetattrValid.GID, { gid: 8 }))).toMatchObject({ uid: 7, gid: 8 })
    expect(bench.attributes(set(nodeid, FuseSetattrValid.SIZE, { size: 2 })).size).toBe(2)
    expect(bench.attributes(set(nodeid, FuseSetattrValid.SIZE, { size: 5_000_000_000 })).size).toBe(5_000_000_000)
    const times = set(nodeid, FuseSetattrValid.ATIME | FuseSetattrValid.MTIME, {
      atime: 5,
      atimensec: 6,
      mtime: -7n,
      mtimensec: 999_999_999,
    })
    expect(bench.attributes(times)).toMatchObject({ atime: 5, atimensec: 6, mtimensec: 999_999_999 })
    expect(fs.statSync(bench.at('file'), { bigint: true }).mtimeNs).toBe(-7_000_000_000n + 999_999_999n)
    const before = Math.floor(Date.now() / 1000) - 1
    const now = bench.attributes(set(nodeid, FuseSetattrValid.MTIME | FuseSetattrValid.MTIME_NOW, { mtime: 1 }))
    expect(now.mtime).toBeGreaterThanOrEqual(before)
    expect(now.atime).toBe(5)
  })

  test('nanoseconds that are none are refused', () => {
    fs.writeFileSync(bench.at('file'), '')
    const { nodeid } = bench.lookup('file')
    for (const mtimensec of [1_000_000_000, 0x3fff_ffff, 0xffff_ffff]) {
      expect(bench.errno(set(nodeid, FuseSetattrValid.MTIME, { mtime: 1, mtimensec }))).toBe(Errno.EINVAL)
    }
  })

  test('an unlinked open file', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR)
    bench.send(requests.unlink(ROOT, 'file'))
    const valid = FuseSetattrValid.SIZE | FuseSetattrValid.FH
    expect(bench.attributes(requests.setattr(nodeid, { valid, fh, size: 10 }))).toMatchObject({ size: 10, nlink: 0 })
    expect(bench.attributes(requests.setattr(nodeid, { valid: FuseSetattrValid.SIZE, size: 20 })).size).toBe(20)
    expect(bench.attributes(requests.setattr(nodeid, { valid: FuseSetattrValid.MODE, mode: 0o400 })).mode & 0o777).toBe(
      0o400,
    )
  })

  test('a symbolic link’s own owner and times', () => {
    fs.writeFileSync(bench.at('file'), '')
    fs.symlinkSync('file', bench.at('link'))
    const { nodeid } = bench.lookup('link')
    bench.body(set(nodeid, FuseSetattrValid.UID | FuseSetattrValid.MTIME, { uid: 5, mtime: 77 }))
    expect(fs.lstatSync(bench.at('link'))).toMatchObject({ uid: 5, mtimeMs: 77_000 })
    expect(fs.statSync(bench.at('file')).uid).toBe(0)
    expect(bench.errno(set(nodeid, FuseSetattrValid.MODE, { mode: 0 }))).toBe(Errno.EOPNOTSUPP)
    expect(bench.errno(set(nodeid, FuseSetattrValid.SIZE, { size: 0 }))).toBe(Errno.EINVAL)
    expect(bench.errno(set(ROOT, FuseSetattrValid.SIZE, { size: 0 }))).toBe(Errno.EISDIR)
  })

  test('setuid is cleared by a truncation that asks for it, and stays otherwise', () => {
    fs.writeFileSync(bench.at('file'), 'hello')
    const { nodeid } = bench.lookup('file')
    const truncate = (extra: number): number => {
      fs.chmodSync(bench.at('file'), 0o6755)
      const valid = FuseSetattrValid.SIZE | extra
      return bench.attributes(requests.setattr(nodeid, { valid, size: 1 })).mode & 0o7777
    }
    expect(truncate(0)).toBe(0o6755)
    expect(truncate(FuseSetattrValid.KILL_SUIDGID)).toBe(0o755)
    expect(truncate(0)).toBe(0o6755)
  })
})

describe('new inodes', () => {
  test('belong to the caller, with the mode that was sent', () => {
    const by = { uid: 1001, gid: 1002 }
    expect(bench.entry(requests.mkdir(ROOT, 'dir', 0o1775, 0o22, by)).attributes).toMatchObject({
      mode: S_IFDIR | 0o1775,
      uid: 1001,
      gid: 1002,
    })
    expect(bench.entry(requests.mknod(ROOT, 'file', S_IFREG | 0o666, 0, 0o22, by)).attributes).toMatchObject({
      mode: S_IFREG | 0o666,
      uid: 1001,
      gid: 1002,
    })
    expect(bench.entry(requests.symlink(ROOT, 'link', '/etc/passwd', by)).attributes).toMatchObject({
      mode: S_IFLNK | 0o777,
      uid: 1001,
      gid: 1002,
    })
    const body = bench.body(requests.create(ROOT, 'open', O_RDWR, 0o400, 0, by))
    expect(decodeEntry(body).attributes).toMatchObject({ mode: S_IFREG | 0o400, uid: 1001, gid: 1002 })
    // And the next request is root's again.
    expect(bench.entry(requests.mkdir(ROOT, 'mine', 0o755)).attributes).toMatchObject({ uid: 0, gid: 0 })
    expect(process.geteuid?.()).toBe(0)
  })

  test('a caller’s rights are the guest’s business', () => {
    fs.mkdirSync(bench.at('closed'), { mode: 0o700 })
    const { nodeid } = bench.lookup('closed')
    const { attributes } = bench.entry(requests.mkdir(nodeid, 'dir', 0o755, 0, { uid: 1001, gid: 1002 }))
    expect(attributes.uid).toBe(1001)
  })

  test('a setgid directory hands its group on; the supplementary group decides about setgid files', () => {
    fs.mkdirSync(bench.at('shared'))
    fs.chownSync(bench.at('shared'), 0, 555)
    fs.chmodSync(bench.at('shared'), 0o2777)
    const { nodeid } = bench.lookup('shared')
    const make = (name: string, group?: number): number[] => {
      const by = { uid: 1001, gid: 1002, ...(group === undefined ? {} : { groups: [group] }) }
      const { attributes } = bench.entry(requests.mknod(nodeid, name, S_IFREG | 0o2775, 0, 0, by))
      return [attributes.gid, attributes.mode & 0o7777]
    }
    expect(make('member', 555)).toEqual([555, 0o2775])
    expect(make('stranger')).toEqual([555, 0o775])
  })

  test('-1 is nobody’s id', () => {
    expect(bench.errno(requests.mkdir(ROOT, 'dir', 0o755, 0, { uid: 0xffff_ffff }))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.mkdir(ROOT, 'dir', 0o755, 0, { gid: 0xffff_ffff }))).toBe(Errno.EINVAL)
    expect(fs.existsSync(bench.at('dir'))).toBe(false)
  })

  test('special files', () => {
    expect(bench.entry(requests.mknod(ROOT, 'fifo', S_IFIFO | 0o600)).attributes.mode).toBe(S_IFIFO | 0o600)
    expect(bench.entry(requests.mknod(ROOT, 'socket', S_IFSOCK | 0o600)).attributes.mode).toBe(S_IFSOCK | 0o600)
    // Major 0x123, minor 0x45678, in the kernel's encoding.
    const rdev = 0x4561_2378
    const device = bench.entry(requests.mknod(ROOT, 'device', S_IFCHR | 0o600, rdev))
    expect(device.attributes).toMatchObject({ mode: S_IFCHR | 0o600, rdev })
    expect(execFileSync('stat', ['-c', '%t %T', bench.at('device')], { encoding: 'utf8' }).trim()).toBe('123 45678')
    expect(bench.errno(requests.mknod(ROOT, 'dir', S_IFDIR | 0o700))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.mknod(ROOT, 'link', S_IFLNK | 0o700))).toBe(Errno.EINVAL)
  })

  test('special files are never opened', () => {
    for (const [name, mode] of Object.entries({ fifo: S_IFIFO, socket: S_IFSOCK, device: S_IFCHR })) {
      const { nodeid } = bench.entry(requests.mknod(ROOT, name, mode | 0o600, 0x103))
      expect(bench.errno(requests.open(nodeid, O_RDWR))).toBe(Errno.EINVAL)
      expect(bench.errno(requests.setupmapping(nodeid, 0, 4096, 0, 2))).toBe(Errno.EINVAL)
      expect(bench.errno(requests.opendir(nodeid))).toBe(Errno.ENOTDIR)
    }
    fs.symlinkSync('/etc/passwd', bench.at('link'))
    const link = bench.lookup('link')
    expect(bench.errno(requests.open(link.nodeid, O_RDONLY))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.opendir(ROOT))).toBe(0)
    expect(bench.errno(requests.open(ROOT, O_RDONLY))).toBe(Errno.EISDIR)
  })

  test('symbolic links hold any text and are never followed', () => {
    const target = Buffer.alloc(4095, 'x/')
    const { nodeid } = bench.entry(requests.symlink(ROOT, 'long', target))
    expect(Buffer.from(bench.body(requests.readlink(nodeid))).equals(target)).toBe(true)
    expect(bench.errno(requests.symlink(ROOT, 'longer', Buffer.alloc(4096, 'x')))).toBe(Errno.ENAMETOOLONG)
    fs.symlinkSync('/etc', bench.at('etc'))
    const etc = bench.lookup('etc')
    expect(etc.attributes.mode & S_IFMT).toBe(S_IFLNK)
    expect(bench.errno(requests.lookup(etc.nodeid, 'passwd'))).toBe(Errno.ENOTDIR)
    expect(bench.errno(requests.mkdir(etc.nodeid, 'viewfsd', 0o755))).toBe(Errno.ENOTDIR)
    expect(bench.errno(requests.readlink(ROOT))).toBe(Errno.EINVAL)
  })

  test('hard links, also of symbolic links', () => {
    fs.writeFileSync(bench.at('file'), 'x')
    fs.symlinkSync('/nowhere', bench.at('symlink'))
    const file = bench.lookup('file')
    const linked = bench.entry(requests.link(ROOT, 'second', file.nodeid))
    expect(linked).toMatchObject({ nodeid: file.nodeid, attributes: { nlink: 2 } })
    const symlink = bench.lookup('symlink')
    const second = bench.entry(requests.link(ROOT, 'symlink2', symlink.nodeid))
    expect(second.nodeid).toBe(symlink.nodeid)
    expect(fs.readlinkSync(bench.at('symlink2'))).toBe('/nowhere')
    expect(bench.errno(requests.link(ROOT, 'second', file.nodeid))).toBe(Errno.EEXIST)
    expect(bench.errno(requests.link(ROOT, 'dirlink', ROOT))).toBe(Errno.EPERM)
  })
})

describe('entries', () => {
  test('unlink and rmdir', () => {
    fs.mkdirSync(bench.at('dir'))
    fs.writeFileSync(bench.at('dir', 'file'), '')
    const { nodeid } = bench.lookup('dir')
    expect(bench.errno(requests.rmdir(ROOT, 'dir'))).toBe(Errno.ENOTEMPTY)
    expect(bench.errno(requests.unlink(ROOT, 'dir'))).toBe(Errno.EISDIR)
    expect(bench.errno(requests.rmdir(nodeid, 'file'))).toBe(Errno.ENOTDIR)
    expect(bench.errno(requests.unlink(nodeid, 'file'))).toBe(0)
    expect(bench.errno(requests.rmdir(ROOT, 'dir'))).toBe(0)
    expect(bench.errno(requests.rmdir(ROOT, 'dir'))).toBe(Errno.ENOENT)
  })

  test('renames of every kind', () => {
    fs.mkdirSync(bench.at('dir'))
    fs.writeFileSync(bench.at('a'), 'a')
    fs.writeFileSync(bench.at('b'), 'b')
    const dir = bench.lookup('dir').nodeid
    expect(bench.errno(requests.rename2(ROOT, 'a', ROOT, 'b', 1))).toBe(Errno.EEXIST)
    expect(bench.errno(requests.rename2(ROOT, 'a', ROOT, 'b', 2))).toBe(0)
    expect(fs.readFileSync(bench.at('a'), 'utf8')).toBe('b')
    expect(bench.errno(requests.rename(ROOT, 'a', dir, 'c'))).toBe(0)
    expect(fs.readFileSync(bench.at('dir', 'c'), 'utf8')).toBe('b')
    expect(bench.errno(requests.rename(ROOT, 'b', dir, 'c'))).toBe(0)
    expect(fs.readFileSync(bench.at('dir', 'c'), 'utf8')).toBe('a')
    expect(bench.errno(requests.rename2(dir, 'c', dir, 'd', 4))).toBe(0)
    const whiteout = bench.lookup('c', dir).attributes
    expect([whiteout.mode & S_IFMT, whiteout.rdev]).toEqual([S_IFCHR, 0])
    expect(bench.errno(requests.rename(ROOT, 'dir', dir, 'inside'))).toBe(Errno.EINVAL)
  })

  test('a directory that has moved keeps its nodeid and its children', () => {
    fs.mkdirSync(bench.at('one'))
    fs.mkdirSync(bench.at('two'))
    fs.writeFileSync(bench.at('one', 'file'), 'x')
    const one = bench.lookup('one').nodeid
    const two = bench.lookup('two').nodeid
    bench.send(requests.rename(ROOT, 'one', two, 'moved'))
    expect(bench.lookup('file', one).attributes.size).toBe(1)
    expect(bench.lookup('moved', two).nodeid).toBe(one)
  })
})

describe('open files', () => {
  test('data', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR)
    const data = Buffer.alloc(300_000, 'data of the guest ')
    const written = bench.body(requests.write(nodeid, fh, 1000, data))
    expect(new DataView(written.buffer).getUint32(0, true)).toBe(data.length)
    expect(Buffer.from(bench.body(requests.read(nodeid, fh, 1000, data.length))).equals(data)).toBe(true)
    expect(bench.body(requests.read(nodeid, fh, 0, 1000))).toEqual(new Uint8Array(1000))
    expect(bench.body(requests.read(nodeid, fh, 300_990, 4096)).length).toBe(10)
    expect(bench.body(requests.read(nodeid, fh, 400_000, 4096)).length).toBe(0)
    expect(bench.errno(requests.flush(nodeid, fh))).toBe(0)
    expect(bench.errno(requests.fsync(nodeid, fh))).toBe(0)
    expect(bench.errno(requests.fsync(nodeid, fh, 1))).toBe(0)
    expect(bench.handles).toBe(1)
    expect(bench.errno(requests.release(nodeid, fh))).toBe(0)
    expect(bench.handles).toBe(0)
    expect(bench.errno(requests.read(nodeid, fh, 0, 10))).toBe(Errno.EBADF)
    expect(fs.readFileSync(bench.at('file')).subarray(1000).equals(data)).toBe(true)
  })

  test('a handle belongs to its inode and its kind', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR)
    const other = bench.create('other', O_RDWR)
    const directory = decodeOpenOut(bench.body(requests.opendir(ROOT))).fh
    for (const wrong of [other.fh, directory, 0, 999, 0xffff_ffff_ffff_ffffn]) {
      expect(bench.errno(requests.read(nodeid, wrong, 0, 10))).toBe(Errno.EBADF)
      expect(bench.errno(requests.write(nodeid, wrong, 0, bytes('x')))).toBe(Errno.EBADF)
      expect(bench.errno(requests.fsync(nodeid, wrong))).toBe(Errno.EBADF)
      expect(bench.errno(requests.readdir(nodeid, wrong, 0, 4096))).toBe(Errno.EBADF)
      bench.send(requests.release(nodeid, wrong))
    }
    expect(bench.errno(requests.readdir(ROOT, fh, 0, 4096))).toBe(Errno.EBADF)
    expect(bench.handles).toBe(3)
  })

  test('reading needs a readable handle, writing a writable one', () => {
    // With a window, what is written can also be mapped and so be read.
    bench.body(requests.init({ flags: LINUX_INIT_FLAGS & ~FuseInitFlag.MAP_ALIGNMENT }))
    fs.writeFileSync(bench.at('file'), 'x')
    const { nodeid } = bench.lookup('file')
    expect(bench.errno(requests.write(nodeid, bench.open(nodeid, O_RDONLY), 0, bytes('y')))).toBe(Errno.EBADF)
    expect(bench.errno(requests.read(nodeid, bench.open(nodeid, O_WRONLY), 0, 1))).toBe(Errno.EBADF)
    expect(bench.errno(requests.open(nodeid, 3))).toBe(Errno.EINVAL)
  })

  test('O_TRUNC, and appending as each write says', () => {
    fs.writeFileSync(bench.at('file'), 'old contents')
    const { nodeid } = bench.lookup('file')
    const fh = bench.open(nodeid, O_RDWR | O_TRUNC | O_APPEND)
    expect(bench.attributes(requests.getattr(nodeid)).size).toBe(0)
    bench.send(requests.write(nodeid, fh, 0, bytes('one'), O_APPEND))
    bench.send(requests.write(nodeid, fh, 0, bytes('two'), O_APPEND))
    // fcntl(F_SETFL) has taken O_APPEND away.
    bench.send(requests.write(nodeid, fh, 0, bytes('ONE'), 0))
    expect(fs.readFileSync(bench.at('file'), 'utf8')).toBe('ONEtwo')
  })

  test('CREATE opens what is there already, unless O_EXCL', () => {
    fs.writeFileSync(bench.at('file'), 'contents')
    const { nodeid, fh } = bench.create('file', O_RDWR)
    expect(text(bench.body(requests.read(nodeid, fh, 0, 100)))).toBe('contents')
    expect(bench.errno(requests.create(ROOT, 'file', O_RDWR | O_EXCL, 0o644))).toBe(Errno.EEXIST)
    bench.create('file', O_WRONLY | O_TRUNC)
    expect(fs.statSync(bench.at('file')).size).toBe(0)
  })

  test('CREATE over something that is no file lets the guest look again, and counts nothing', () => {
    fs.symlinkSync('/etc/passwd', bench.at('link'))
    fs.mkdirSync(bench.at('dir'))
    const before = bench.inodes
    expect(bench.errno(requests.create(ROOT, 'link', O_RDWR, 0o644))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.create(ROOT, 'dir', O_RDWR, 0o644))).toBe(Errno.ESTALE)
    expect([bench.inodes, bench.handles]).toEqual([before, 0])
  })

  test('files without a name', () => {
    const by = { uid: 1001, gid: 1002 }
    const body = bench.body(requests.tmpfile(ROOT, O_RDWR, 0o640, by))
    const { nodeid, attributes } = decodeEntry(body)
    const { fh } = decodeOpenOut(body, 128)
    expect(attributes).toMatchObject({ nlink: 0, uid: 1001, gid: 1002, mode: S_IFREG | 0o640 })
    bench.body(requests.write(nodeid, fh, 0, bytes('secret')))
    expect(fs.readdirSync(bench.path)).toEqual([])
    expect(bench.entry(requests.link(ROOT, 'named', nodeid)).attributes.nlink).toBe(1)
    expect(fs.readFileSync(bench.at('named'), 'utf8')).toBe('secret')
    const exclusive = decodeEntry(bench.body(requests.tmpfile(ROOT, O_RDWR | O_EXCL, 0o640)))
    expect(bench.errno(requests.link(ROOT, 'named2', exclusive.nodeid))).toBe(Errno.ENOENT)
    expect(bench.errno(requests.tmpfile(ROOT, O_RDONLY, 0o640))).toBe(Errno.EINVAL)
  })

  test('FALLOCATE and LSEEK', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR)
    const KEEP_SIZE = 1
    const PUNCH_HOLE = 2
    const ZERO_RANGE = 16
    expect(bench.errno(requests.fallocate(nodeid, fh, 0, 0, 1 << 20))).toBe(0)
    expect(bench.attributes(requests.getattr(nodeid)).size).toBe(1 << 20)
    expect(bench.errno(requests.fallocate(nodeid, fh, KEEP_SIZE, 1 << 20, 1 << 20))).toBe(0)
    expect(bench.attributes(requests.getattr(nodeid)).size).toBe(1 << 20)
    bench.body(requests.write(nodeid, fh, 0, Buffer.alloc(1 << 19, 1)))
    expect(bench.errno(requests.fallocate(nodeid, fh, PUNCH_HOLE | KEEP_SIZE, 65536, 65536))).toBe(0)
    expect(bench.body(requests.read(nodeid, fh, 65536, 65536))).toEqual(new Uint8Array(65536))
    expect(bench.errno(requests.fallocate(nodeid, fh, ZERO_RANGE, 0, 4096))).toBe(0)
    expect(bench.errno(requests.fallocate(nodeid, fh, 0x8000, 0, 4096))).toBe(Errno.EOPNOTSUPP)
    expect(bench.errno(requests.fallocate(nodeid, fh, 0, 0, 0))).toBe(Errno.EINVAL)
    const seek = (offset: number, whence: number): number =>
      Number(new DataView(bench.body(requests.lseek(nodeid, fh, offset, whence)).buffer).getBigUint64(0, true))
    expect(seek(4096, 4)).toBe(65536)
    expect(seek(65536, 3)).toBe(131072)
    expect(bench.errno(requests.lseek(nodeid, fh, 1 << 21, 3))).toBe(Errno.ENXIO)
    expect(bench.errno(requests.lseek(nodeid, fh, 0, 0))).toBe(Errno.EINVAL)
  })

  test('COPY_FILE_RANGE in both sizes', () => {
    const from = bench.create('from', O_RDWR)
    const to = bench.create('to', O_RDWR)
    bench.body(requests.write(from.nodeid, from.fh, 0, bytes('0123456789')))
    const fields = { fh_in: from.fh, off_in: 2, nodeid_out: to.nodeid, fh_out: to.fh, off_out: 1, len: 5 }
    const short = bench.body(requests.copyFileRange(from.nodeid, fields))
    expect([short.length, new DataView(short.buffer).getUint32(0, true)]).toEqual([8, 5])
    const long = bench.body(requests.copyFileRange(from.nodeid, { ...fields, off_out: 6, len: (1n << 63n) - 1n }, 53))
    expect(new DataView(long.buffer).getBigUint64(0, true)).toBe(8n)
    expect(fs.readFileSync(bench.at('to'), 'utf8')).toBe('\u00002345623456789')
    expect(bench.errno(requests.copyFileRange(from.nodeid, { ...fields, flags: 1 }))).toBe(Errno.EINVAL)
    expect(bench.errno(requests.copyFileRange(from.nodeid, { ...fields, fh_out: 999 }))).toBe(Errno.EBADF)
  })

  test('COPY_FILE_RANGE within one file, by two nodeids', () => {
    const MIB = 1 << 20
    for (const name of ['one', 'two']) fs.mkdirSync(bench.at(name))
    // A hole and data: the parts of a copy, which alone overlap nothing.
    fs.writeFileSync(bench.at('one', 'file'), '')
    fs.truncateSync(bench.at('one', 'file'), MIB)
    fs.appendFileSync(bench.at('one', 'file'), Buffer.alloc(2 * MIB, 'data'))
    const before = fs.readFileSync(bench.at('one', 'file'))
    execFileSync('mount', ['--bind', bench.at('one'), bench.at('two')])
    try {
      const openIn = (name: string): { nodeid: number; fh: number } => {
        const { nodeid } = bench.lookup('file', bench.lookup(name).nodeid)
        return { nodeid, fh: decodeOpenOut(bench.body(requests.open(nodeid, O_RDWR))).fh }
      }
      const [from, to] = [openIn('one'), openIn('two')]
      expect(from.nodeid).not.toBe(to.nodeid)
      const fields = { fh_in: from.fh, off_in: 0, nodeid_out: to.nodeid, fh_out: to.fh, off_out: MIB, len: 2 * MIB }
      expect(bench.errno(requests.copyFileRange(from.nodeid, fields))).toBe(Errno.EINVAL)
      expect(fs.readFileSync(bench.at('one', 'file')).equals(before)).toBe(true)
      // What lies beyond the end is not copied, and so overlaps nothing.
      const last = { ...fields, off_in: 3 * MIB - 10, off_out: 10, len: 4 * MIB }
      expect(new DataView(bench.body(requests.copyFileRange(from.nodeid, last)).buffer).getUint32(0, true)).toBe(10)
    } finally {
      execFileSync('umount', ['-l', bench.at('two')])
    }
  })

  test('an unlinked file lives on, is read, written and mapped', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR)
    bench.body(requests.write(nodeid, fh, 0, bytes('alive')))
    bench.send(requests.unlink(ROOT, 'file'))
    expect(text(bench.body(requests.read(nodeid, fh, 0, 100)))).toBe('alive')
    bench.send(requests.release(nodeid, fh))
    const again = bench.open(nodeid, O_RDWR)
    expect(text(bench.body(requests.read(nodeid, again, 0, 100)))).toBe('alive')
    expect(bench.errno(requests.setupmapping(nodeid, 0, 2 ** 21, 0, 3))).toBe(MAPPED)
  })

  test('a write that asks for it clears setuid, and only that one', () => {
    const { nodeid, fh } = bench.create('file', O_RDWR, 0o755)
    const write = (kill: number): number => {
      fs.chmodSync(bench.at('file'), 0o6755)
      bench.body(requests.write(nodeid, fh, 0, bytes('x'), 0, kill))
      return fs.statSync(bench.at('file')).mode & 0o7777
    }
    expect([write(0), write(4), write(0)]).toEqual([0o6755, 0o755, 0o6755])
  })

  test('O_DIRECT and nonsense stay in the guest', () => {
    fs.writeFileSync(bench.at('file'), 'x')
    const { nodeid } = bench.lookup('file')
    // All bits that have a meaning for open(2), O_CREAT, O_DIRECTORY, O_PATH and O_TMPFILE among them.
    const fh = bench.open(nodeid, 0o77777774 & ~O_TRUNC)
    expect(text(bench.body(requests.read(nodeid, fh, 0, 10)))).toBe('x')
  })

  test('files over 4 GiB', () => {
    const { nodeid, fh } = bench.create('large', O_RDWR)
    const offset = 6_000_000_000
    bench.body(requests.write(nodeid, fh, offset, bytes('far')))
    expect(bench.attributes(requests.getattr(nodeid)).size).toBe(offset + 3)
    expect(text(bench.body(requests.read(nodeid, fh, offset, 10)))).toBe('far')
  })
})

describe('the state of a session', () => {
  test('INIT and DESTROY forget everything but the root', () => {
    for (const end of [requests.init(), requests.destroy()]) {
      bench.create('file', O_RDWR)
      bench.body(requests.opendir(ROOT))
      expect([bench.inodes, bench.handles]).toEqual([2, 2])
      bench.body(end)
      expect([bench.inodes, bench.handles]).toEqual([1, 0])
      bench.body(requests.init())
    }
  })

  test('descriptors come back', () => {
    bench[Symbol.dispose]()
    bench = new PassthroughBench({ inodeFileHandles: 'never' })
    const before = countDescriptors()
    for (let index = 0; index < 50; index++) {
      const { nodeid, fh } = bench.create(`file${index}`, O_RDWR)
      bench.send(requests.release(nodeid, fh))
    }
    bench.readDirectory(ROOT, 4096, true)
    expect(countDescriptors()).toBe(before + 50)
    bench.body(requests.destroy())
    expect(countDescriptors()).toBe(before)
  })
})
