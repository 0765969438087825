// SPDX-License-Identifier: Apache-2.0
/** GETATTR, SETATTR, STATX, STATFS and ACCESS. */
import { chmodSync, constants, lstatSync, mkdirSync, statSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID, SetAttr } from './harness/fuse-abi.ts'
import { outcome, permissions, startSession } from './harness/session.ts'

test('reports the attributes of every kind of file as the host has them', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'x'.repeat(5000))
  mkdirSync(join(daemon.sharedDir, 'directory'))
  symlinkSync('somewhere', join(daemon.sharedDir, 'link'))
  client.mknod(ROOT_ID, 'fifo', constants.S_IFIFO | 0o600)
  for (const name of ['file', 'directory', 'link', 'fifo']) {
    const host = lstatSync(join(daemon.sharedDir, name), { bigint: true })
    expect(client.getattr(client.lookup(ROOT_ID, name).nodeid), name).toMatchObject({
      ino: host.ino,
      size: Number(host.size),
      blocks: Number(host.blocks),
      mode: Number(host.mode),
      nlink: Number(host.nlink),
      uid: Number(host.uid),
      gid: Number(host.gid),
      blksize: Number(host.blksize),
      mtime: host.mtimeNs / 1_000_000_000n,
      mtimensec: Number(host.mtimeNs % 1_000_000_000n),
    })
  }
  expect(client.getattr(ROOT_ID).ino).toBe(lstatSync(daemon.sharedDir, { bigint: true }).ino)
})

test('sees what the host changes', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'short')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  writeFileSync(path, 'much longer')
  chmodSync(path, 0o604)
  expect(client.getattr(nodeid)).toMatchObject({ size: 11, mode: constants.S_IFREG | 0o604 })
})

test.skipIf(REFERENCE !== undefined)(
  'changes mode and owner at once, and the mode is the one that was asked for',
  async () => {
    const { client, daemon } = await startSession()
    const path = join(daemon.sharedDir, 'file')
    writeFileSync(path, '')
    const { nodeid } = client.lookup(ROOT_ID, 'file')
    const valid = SetAttr.MODE | SetAttr.UID | SetAttr.GID
    expect(permissions(client.setattr(nodeid, { valid, mode: 0o106755, uid: 1000, gid: 1001 }))).toBe(0o6755)
    expect(statSync(path)).toMatchObject({ uid: 1000, gid: 1001 })
  },
)

test('changes mode, owner and times, each alone', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, '')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  expect(permissions(client.setattr(nodeid, { valid: SetAttr.MODE, mode: 0o100751 }))).toBe(0o751)
  expect(statSync(path).mode & 0o7777).toBe(0o751)

  expect(client.setattr(nodeid, { valid: SetAttr.UID, uid: 1000, gid: 7 })).toMatchObject({ uid: 1000, gid: 0 })
  expect(client.setattr(nodeid, { valid: SetAttr.GID, uid: 7, gid: 1001 })).toMatchObject({ uid: 1000, gid: 1001 })

  const times = { atime: 1_000_000_001, atimensec: 123_456_789, mtime: 2_000_000_002, mtimensec: 987_654_321 }
  client.setattr(nodeid, { valid: SetAttr.ATIME | SetAttr.MTIME, ...times })
  const host = statSync(path, { bigint: true })
  expect([host.atimeNs, host.mtimeNs]).toEqual([1_000_000_001_123_456_789n, 2_000_000_002_987_654_321n])

  // ATIME alone leaves MTIME as it is.
  client.setattr(nodeid, { valid: SetAttr.ATIME, atime: 5, atimensec: 6, mtime: 7 })
  expect(client.getattr(nodeid)).toMatchObject({ atime: 5n, atimensec: 6, mtime: 2_000_000_002n })

  const before = BigInt(Date.now() - 10_000) / 1000n
  client.setattr(nodeid, { valid: SetAttr.MTIME | SetAttr.MTIME_NOW, mtime: 7 })
  const attr = client.getattr(nodeid)
  expect(attr.atime).toBe(5n)
  expect(attr.mtime).toBeGreaterThan(before)
})

test('keeps the mode bits beyond rwx', async () => {
  const { client, daemon } = await startSession()
  mkdirSync(join(daemon.sharedDir, 'directory'))
  const { nodeid } = client.lookup(ROOT_ID, 'directory')
  for (const mode of [0o1777, 0o2755, 0o4755, 0o7777, 0]) {
    expect(permissions(client.setattr(nodeid, { valid: SetAttr.MODE, mode }))).toBe(mode)
    expect(statSync(join(daemon.sharedDir, 'directory')).mode & 0o7777).toBe(mode)
  }
})

test('changes the size by node id and by handle', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'abcdefgh')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  expect(client.setattr(nodeid, { valid: SetAttr.SIZE, size: 3 }).size).toBe(3)
  const fh = client.open(nodeid, constants.O_RDWR)
  expect(client.setattr(nodeid, { valid: SetAttr.SIZE | SetAttr.FH, fh, size: 6 }).size).toBe(6)
  expect(Buffer.from(client.read(nodeid, fh, 0, 100)).toString()).toBe('abc\0\0\0')
  // Larger than any 32-bit size.
  expect(client.setattr(nodeid, { valid: SetAttr.SIZE, size: 5 * 2 ** 30 + 1 }).size).toBe(5 * 2 ** 30 + 1)
  expect(statSync(path).size).toBe(5 * 2 ** 30 + 1)
  const directory = client.mkdir(ROOT_ID, 'directory')
  expect(outcome(() => client.setattr(directory.nodeid, { valid: SetAttr.SIZE, size: 0 }))).not.toBe('ok')
})

test('changes the times of a symbolic link itself', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), '')
  symlinkSync('file', join(daemon.sharedDir, 'link'))
  const before = lstatSync(join(daemon.sharedDir, 'file')).mtimeMs
  const link = client.lookup(ROOT_ID, 'link')
  client.setattr(link.nodeid, { valid: SetAttr.MTIME, mtime: 77, mtimensec: 0 })
  client.setattr(link.nodeid, { valid: SetAttr.UID, uid: 55 })
  expect(lstatSync(join(daemon.sharedDir, 'link'))).toMatchObject({ mtimeMs: 77_000, uid: 55 })
  expect(lstatSync(join(daemon.sharedDir, 'file'))).toMatchObject({ mtimeMs: before, uid: 0 })
})

test('says EBADF, ENOENT or ESTALE for node ids and handles that it never gave', async () => {
  const { client } = await startSession()
  const gone = ['EBADF', 'ENOENT', 'ESTALE', 'EINVAL']
  for (const nodeid of [0n, 999_999n, 2n ** 53n, 2n ** 64n - 1n]) {
    expect(gone).toContain(outcome(() => client.getattr(nodeid)))
    expect(gone).toContain(outcome(() => client.lookup(nodeid, 'x')))
    expect(gone).toContain(outcome(() => client.open(nodeid, 0)))
    expect(gone).toContain(outcome(() => client.setattr(nodeid, { valid: SetAttr.MODE, mode: 0 })))
  }
  const { entry } = client.create(ROOT_ID, 'file', 2)
  for (const fh of [12_345n, 2n ** 53n, 2n ** 64n - 1n]) {
    expect(outcome(() => client.read(entry.nodeid, fh, 0, 10))).toBe('EBADF')
    expect(outcome(() => client.write(entry.nodeid, fh, 0, new Uint8Array(1)))).toBe('EBADF')
    expect(outcome(() => client.readdir(ROOT_ID, fh, 0n))).toBe('EBADF')
    expect(gone).toContain(outcome(() => client.fsync(entry.nodeid, fh)))
  }
})

test.skipIf(REFERENCE !== undefined)('gives the birth time by STATX', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'four')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const STATX_BTIME = 0x800
  const host = statSync(path, { bigint: true })
  const statx = client.statx(nodeid)
  expect(statx.mask & STATX_BTIME).toBe(STATX_BTIME)
  expect(statx).toMatchObject({
    size: 4,
    mode: Number(host.mode),
    btime: host.birthtimeNs / 1_000_000_000n,
    btimensec: Number(host.birthtimeNs % 1_000_000_000n),
  })
})

test('reports the host file system by STATFS', async () => {
  const { client, daemon } = await startSession()
  const host = statfsSync(daemon.sharedDir, { bigint: true })
  expect(client.statfs(ROOT_ID)).toMatchObject({ blocks: host.blocks, bsize: Number(host.bsize), namelen: 255 })
})

test('answers ACCESS by mode and credentials, or leaves it to the guest', async () => {
  const { client, daemon, transport } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), '', { mode: 0o640 })
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const wanted: [credentials: [uid: number, gid: number], mask: number, outcome: string][] = [
    [[0, 0], constants.R_OK | constants.W_OK, 'ok'],
    [[0, 0], constants.X_OK, 'EACCES'],
    [[1234, 1234], constants.R_OK, 'EACCES'],
    [[1234, 0], constants.R_OK, 'ok'],
    [[1234, 0], constants.W_OK, 'EACCES'],
  ]
  const got = wanted.map(([[uid, gid], mask]) => {
    transport.credentials = { uid, gid, pid: 1 }
    return outcome(() => client.access(nodeid, mask))
  })
  // ENOSYS tells the guest to decide by itself, and virtio-fs guests do anyway (default_permissions).
  const answered = got.some((each) => each !== 'ENOSYS')
  expect(got).toEqual(wanted.map(([, , each]) => (answered ? each : 'ENOSYS')))
})
