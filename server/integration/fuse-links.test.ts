// SPDX-License-Identifier: Apache-2.0
/** SYMLINK, READLINK, LINK, MKNOD, RENAME, RENAME2. */
import {
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'

const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const
const { S_IFBLK, S_IFCHR, S_IFIFO, S_IFREG, S_IFSOCK } = constants

test('keeps the target of a symbolic link to the byte', async () => {
  const { client, daemon } = await startSession()
  const targets = ['target', '/absolute/path', '../..', 'x'.repeat(4095), Buffer.from('\xff\xfe\x01', 'latin1')]
  targets.forEach((target, i) => {
    const entry = client.symlink(ROOT_ID, `link-${i}`, target)
    expect(entry.attr.mode & 0o170000).toBe(0o120000)
    expect(entry.attr.size).toBe(target.length)
    expect(Buffer.compare(client.readlink(entry.nodeid), Buffer.from(target))).toBe(0)
    expect(readlinkSync(join(daemon.sharedDir, `link-${i}`), 'buffer')).toEqual(Buffer.from(target))
  })
  expect(outcome(() => client.symlink(ROOT_ID, 'link-0', 'again'))).toBe('EEXIST')
  expect(outcome(() => client.symlink(ROOT_ID, 'long', 'x'.repeat(4096)))).toBe('ENAMETOOLONG')
  const { entry } = client.create(ROOT_ID, 'file', 2)
  expect(outcome(() => client.readlink(entry.nodeid))).toMatch(/EINVAL|ENOENT/)
})

test('makes hard links', async () => {
  const { client, daemon } = await startSession()
  const directory = client.mkdir(ROOT_ID, 'directory')
  const { entry, fh } = client.create(ROOT_ID, 'one', 2)
  const linked = client.link(entry.nodeid, directory.nodeid, 'two')
  expect(linked).toMatchObject({ nodeid: entry.nodeid, attr: { nlink: 2 } })
  client.write(entry.nodeid, fh, 0, Buffer.from('same'))
  expect(readFileSync(join(daemon.sharedDir, 'directory/two'), 'utf8')).toBe('same')
  expect(outcome(() => client.link(entry.nodeid, ROOT_ID, 'one'))).toBe('EEXIST')
  expect(outcome(() => client.link(directory.nodeid, ROOT_ID, 'hard'))).toBe('EPERM')
  client.unlink(ROOT_ID, 'one')
  expect(client.getattr(entry.nodeid).nlink).toBe(1)
  // A link to a symbolic link is one to the link itself.
  const symlink = client.symlink(ROOT_ID, 'symlink', 'nowhere')
  expect(client.link(symlink.nodeid, ROOT_ID, 'symlink-2').attr.nlink).toBe(2)
  expect(readlinkSync(join(daemon.sharedDir, 'symlink-2'))).toBe('nowhere')
})

test('makes special files', async () => {
  const { client, daemon } = await startSession()
  const kinds = [
    { name: 'fifo', mode: S_IFIFO | 0o644, rdev: 0 },
    { name: 'socket', mode: S_IFSOCK | 0o644, rdev: 0 },
    { name: 'null', mode: S_IFCHR | 0o644, rdev: 0x103 },
    { name: 'disk', mode: S_IFBLK | 0o640, rdev: 0x763 },
    { name: 'regular', mode: S_IFREG | 0o600, rdev: 0 },
  ]
  for (const { name, mode, rdev } of kinds) {
    expect(client.mknod(ROOT_ID, name, mode, rdev).attr).toMatchObject({ mode, rdev })
    expect(lstatSync(join(daemon.sharedDir, name))).toMatchObject({ mode, rdev })
    expect(outcome(() => client.mknod(ROOT_ID, name, mode, rdev))).toBe('EEXIST')
  }
})

test('never opens a special file of the host', async () => {
  const { client } = await startSession()
  for (const [name, mode, rdev] of [
    ['fifo', S_IFIFO, 0],
    ['null', S_IFCHR, 0x103],
    ['socket', S_IFSOCK, 0],
  ] as const) {
    const { nodeid } = client.mknod(ROOT_ID, name, mode | 0o666, rdev)
    // O_RDONLY on a FIFO would block for ever, a device would be the host's.
    expect(
      outcome(() => client.open(nodeid, constants.O_RDONLY | constants.O_NONBLOCK)),
      name,
    ).not.toBe('ok')
    expect(
      outcome(() => client.open(nodeid, constants.O_RDONLY)),
      name,
    ).not.toBe('ok')
  }
})

test('renames over files and directories as rename(2) does', async () => {
  const { client, daemon } = await startSession()
  const path = (name: string): string => join(daemon.sharedDir, name)
  writeFileSync(path('a'), 'a')
  writeFileSync(path('b'), 'b')
  mkdirSync(path('empty'))
  mkdirSync(path('full'))
  writeFileSync(path('full/child'), '')
  const a = client.lookup(ROOT_ID, 'a')
  client.rename(ROOT_ID, 'a', ROOT_ID, 'b')
  expect(readFileSync(path('b'), 'utf8')).toBe('a')
  expect(client.lookup(ROOT_ID, 'b').nodeid).toBe(a.nodeid)
  expect(outcome(() => client.lookup(ROOT_ID, 'a'))).toBe('ENOENT')
  expect(outcome(() => client.rename(ROOT_ID, 'a', ROOT_ID, 'c'))).toBe('ENOENT')
  expect(outcome(() => client.rename(ROOT_ID, 'b', ROOT_ID, 'empty'))).toBe('EISDIR')
  expect(outcome(() => client.rename(ROOT_ID, 'empty', ROOT_ID, 'b'))).toBe('ENOTDIR')
  expect(outcome(() => client.rename(ROOT_ID, 'empty', ROOT_ID, 'full'))).toBe('ENOTEMPTY')
  const full = client.lookup(ROOT_ID, 'full')
  expect(outcome(() => client.rename(ROOT_ID, 'full', full.nodeid, 'inside'))).toBe('EINVAL')
  client.rename(ROOT_ID, 'full', ROOT_ID, 'empty')
  expect(existsSync(path('empty/child'))).toBe(true)
  // The moved directory is still usable by its node id.
  client.create(full.nodeid, 'new', 2)
  expect(existsSync(path('empty/new'))).toBe(true)
})

test('renames an open file and one that is replaced while open', async () => {
  const { client, daemon } = await startSession()
  const old = client.create(ROOT_ID, 'old', 2)
  const victim = client.create(ROOT_ID, 'victim', 2)
  client.write(victim.entry.nodeid, victim.fh, 0, Buffer.from('victim'))
  client.rename(ROOT_ID, 'old', ROOT_ID, 'victim')
  client.write(old.entry.nodeid, old.fh, 0, Buffer.from('old'))
  expect(readFileSync(join(daemon.sharedDir, 'victim'), 'utf8')).toBe('old')
  expect(client.read(victim.entry.nodeid, victim.fh, 0, 10)).toEqual(Buffer.from('victim'))
  expect(client.getattr(victim.entry.nodeid).nlink).toBe(0)
})

test('obeys the flags of RENAME2', async () => {
  const { client, daemon } = await startSession()
  const path = (name: string): string => join(daemon.sharedDir, name)
  writeFileSync(path('a'), 'a')
  mkdirSync(path('d'))
  expect(outcome(() => client.rename2(ROOT_ID, 'a', ROOT_ID, 'd', RENAME.NOREPLACE))).toBe('EEXIST')
  client.rename2(ROOT_ID, 'a', ROOT_ID, 'd', RENAME.EXCHANGE)
  expect(statSync(path('a')).isDirectory()).toBe(true)
  expect(readFileSync(path('d'), 'utf8')).toBe('a')
  client.rename2(ROOT_ID, 'd', ROOT_ID, 'e', RENAME.NOREPLACE)
  expect(readFileSync(path('e'), 'utf8')).toBe('a')
  expect(outcome(() => client.rename2(ROOT_ID, 'e', ROOT_ID, 'missing', RENAME.EXCHANGE))).toBe('ENOENT')
  expect(outcome(() => client.rename2(ROOT_ID, 'e', ROOT_ID, 'a', RENAME.EXCHANGE | RENAME.NOREPLACE))).toBe('EINVAL')
  client.rename2(ROOT_ID, 'e', ROOT_ID, 'f', RENAME.WHITEOUT)
  // What overlayfs in the guest leaves behind: a character device 0, 0.
  expect(lstatSync(path('e'))).toMatchObject({ mode: constants.S_IFCHR, rdev: 0 })
})
