// SPDX-License-Identifier: Apache-2.0
/** Files are made as the guest's user, and only by one who may. */
import { chmodSync, chownSync, constants, lstatSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, type Session, startSession } from './harness/session.ts'

const ALICE = { uid: 1000, gid: 1001, pid: 1 }
const RENAME_WHITEOUT = 4
const ROOT = { uid: 0, gid: 0, pid: 1 }

async function openSession(): Promise<Session> {
  const session = await startSession()
  chmodSync(session.daemon.sharedDir, 0o777)
  session.transport.credentials = ALICE
  return session
}

test('gives what is made to the guest user who made it', async () => {
  const { client, daemon } = await openSession()
  const owner = { uid: ALICE.uid, gid: ALICE.gid }
  expect(client.create(ROOT_ID, 'file', 2).entry.attr).toMatchObject(owner)
  expect(client.mkdir(ROOT_ID, 'directory').attr).toMatchObject(owner)
  expect(client.symlink(ROOT_ID, 'link', 'x').attr).toMatchObject(owner)
  expect(client.mknod(ROOT_ID, 'fifo', constants.S_IFIFO | 0o600).attr).toMatchObject(owner)
  for (const name of ['file', 'directory', 'link', 'fifo']) {
    expect(lstatSync(join(daemon.sharedDir, name)), name).toMatchObject(owner)
  }
})

test('works as root again for the next request', async () => {
  const { client, daemon, transport } = await openSession()
  client.create(ROOT_ID, 'of-alice', 2)
  transport.credentials = ROOT
  client.create(ROOT_ID, 'of-root', 2)
  chmodSync(daemon.sharedDir, 0o700)
  expect(statSync(join(daemon.sharedDir, 'of-root'))).toMatchObject({ uid: 0, gid: 0 })
  expect(client.lookup(ROOT_ID, 'of-alice').attr.uid).toBe(ALICE.uid)
})

test('leaves it to the guest who may write, but makes nothing as root for its user', async () => {
  const { client, daemon, transport } = await openSession()
  mkdirSync(join(daemon.sharedDir, 'group'))
  chownSync(join(daemon.sharedDir, 'group'), 0, ALICE.gid)
  chmodSync(join(daemon.sharedDir, 'group'), 0o770)
  const group = client.lookup(ROOT_ID, 'group')
  expect(client.create(group.nodeid, 'file', 2).entry.attr).toMatchObject({ uid: ALICE.uid, gid: ALICE.gid })
  // Groups beyond the first are known to the guest alone, so it has decided already (default_permissions).
  chmodSync(daemon.sharedDir, 0o755)
  for (const [name, operation] of [
    ['a', () => client.create(ROOT_ID, 'a', 2)],
    ['b', () => client.mkdir(ROOT_ID, 'b')],
    ['c', () => client.mknod(ROOT_ID, 'c', constants.S_IFIFO | 0o600)],
  ] as const) {
    const result = outcome(operation)
    expect(result).toMatch(/ok|EACCES/)
    const owner = result === 'ok' ? lstatSync(join(daemon.sharedDir, name)).uid : ALICE.uid
    expect(owner).toBe(ALICE.uid)
  }
  transport.credentials = ROOT
  expect(client.mkdir(ROOT_ID, 'directory').attr.uid).toBe(0)
})

test('takes no -1 for a user', async () => {
  const { client, transport } = await openSession()
  // Linux has no such user; to the system call it means "as before", which is root.
  for (const credentials of [
    { uid: 0xffff_ffff, gid: 0, pid: 1 },
    { uid: 1000, gid: 0xffff_ffff, pid: 1 },
  ]) {
    transport.credentials = credentials
    expect(outcome(() => client.create(ROOT_ID, 'file', 2))).not.toBe('ok')
  }
  transport.credentials = ROOT
  expect(outcome(() => client.lookup(ROOT_ID, 'file'))).toBe('ENOENT')
})

test('applies the umask that the request carries where the guest leaves it to the server', async () => {
  const { client, initReply } = await openSession()
  const DONT_MASK = 1n << 6n
  const masked = ((initReply?.flags ?? 0n) & DONT_MASK) !== 0n
  // Without DONT_MASK the guest has masked already, and a second time does not matter.
  const mode = masked ? 0o666 : 0o640
  expect(client.create(ROOT_ID, 'file', 2, mode, 0o027).entry.attr.mode & 0o777).toBe(0o640)
  expect(client.mkdir(ROOT_ID, 'directory', masked ? 0o777 : 0o750, 0o027).attr.mode & 0o777).toBe(0o750)
})

test('is not masked by the umask of the daemon', async () => {
  const { client } = await openSession()
  expect(client.create(ROOT_ID, 'file', 2, 0o666, 0).entry.attr.mode & 0o777).toBe(0o666)
  expect(client.mkdir(ROOT_ID, 'directory', 0o777, 0).attr.mode & 0o777).toBe(0o777)
  expect(client.mknod(ROOT_ID, 'fifo', constants.S_IFIFO | 0o666, 0, 0).attr.mode & 0o777).toBe(0o666)
})

test('passes on the group of a set-group-id directory', async () => {
  const { client, daemon } = await openSession()
  const path = join(daemon.sharedDir, 'shared')
  mkdirSync(path)
  chownSync(path, 0, 5000)
  chmodSync(path, 0o2777)
  const shared = client.lookup(ROOT_ID, 'shared')
  expect(client.create(shared.nodeid, 'file', 2).entry.attr).toMatchObject({ uid: ALICE.uid, gid: 5000 })
  const directory = client.mkdir(shared.nodeid, 'directory')
  expect(directory.attr.gid).toBe(5000)
  expect(directory.attr.mode & 0o2000).toBe(0o2000)
})

test.skipIf(REFERENCE !== undefined)('a whiteout belongs to whoever renames', async () => {
  const { client, daemon } = await openSession()
  client.create(ROOT_ID, 'file', 2)
  client.rename2(ROOT_ID, 'file', ROOT_ID, 'moved', RENAME_WHITEOUT)
  const left = lstatSync(join(daemon.sharedDir, 'file'))
  expect(left).toMatchObject({ uid: ALICE.uid, gid: ALICE.gid, rdev: 0 })
  expect(left.isCharacterDevice()).toBe(true)
  expect(statSync(join(daemon.sharedDir, 'moved')).isFile()).toBe(true)
})
