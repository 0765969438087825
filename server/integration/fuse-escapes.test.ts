// SPDX-License-Identifier: Apache-2.0
/** A guest must not leave the shared directory, whatever names and links it sends. */
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { Opcode, ROOT_ID, SetAttr } from './harness/fuse-abi.ts'
import { outcome, type Session, startSession } from './harness/session.ts'
import { cString, pack } from './harness/wire.ts'

// virtiofsd without its sandbox takes paths for names, and dies of a name without NUL.
async function sessionBesideSecret(): Promise<Session> {
  const session = await startSession()
  writeFileSync(join(session.daemon.directory, 'secret'), 'secret')
  mkdirSync(join(session.daemon.sharedDir, 'directory'))
  writeFileSync(join(session.daemon.sharedDir, 'file'), 'file')
  return session
}

const BAD_NAMES = ['', '.', '..', '/', '../secret', 'directory/../../secret', '/etc/passwd', 'directory/x', './file']

test.skipIf(REFERENCE !== undefined)('looks up no name that is a path', async () => {
  const { client } = await sessionBesideSecret()
  const root = client.getattr(ROOT_ID)
  for (const name of BAD_NAMES) {
    let found = 'refused'
    try {
      // "." and ".." may be answered, but only with the export's own root.
      found = client.lookup(ROOT_ID, name).attr.ino === root.ino ? 'root' : 'escaped'
    } catch {
      // Refused.
    }
    expect(['.', '..'].includes(name) ? ['refused', 'root'] : ['refused'], name).toContain(found)
  }
})

test.skipIf(REFERENCE !== undefined)('never leaves by ".." from below', async () => {
  const { client } = await sessionBesideSecret()
  const directory = client.lookup(ROOT_ID, 'directory')
  for (const name of ['../..', '../../secret', '..//..']) {
    expect(
      outcome(() => client.lookup(directory.nodeid, name)),
      name,
    ).not.toBe('ok')
  }
})

test.skipIf(REFERENCE !== undefined)('makes, moves and removes no name that is a path', async () => {
  const { client, daemon } = await sessionBesideSecret()
  const file = client.lookup(ROOT_ID, 'file')
  for (const name of BAD_NAMES) {
    for (const operation of [
      () => client.create(ROOT_ID, name, 2),
      () => client.mkdir(ROOT_ID, name),
      () => client.mknod(ROOT_ID, name, 0o100644),
      () => client.symlink(ROOT_ID, name, 'target'),
      () => client.link(file.nodeid, ROOT_ID, name),
      () => client.unlink(ROOT_ID, name),
      () => client.rmdir(ROOT_ID, name),
      () => client.rename(ROOT_ID, 'file', ROOT_ID, name),
      () => client.rename(ROOT_ID, name, ROOT_ID, 'other'),
      () => client.rename2(ROOT_ID, name, ROOT_ID, 'file', 2),
    ]) {
      expect(outcome(operation), `"${name}": ${operation.toString()}`).not.toBe('ok')
    }
  }
  expect(readdirSync(daemon.directory).toSorted()).toEqual(['log', 'secret', 'share', 'socket', ...ownFiles(daemon)])
  expect(readFileSync(join(daemon.directory, 'secret'), 'utf8')).toBe('secret')
  expect(readdirSync(daemon.sharedDir).toSorted()).toEqual(['directory', 'file'])
})

/** virtiofsd has not all of them. */
function ownFiles(daemon: { directory: string }): string[] {
  return ['socket.ctl', 'socket.pid'].filter((name) => existsSync(join(daemon.directory, name)))
}

test('follows no symbolic link on the host', async () => {
  const { client, daemon } = await sessionBesideSecret()
  symlinkSync(join(daemon.directory, 'secret'), join(daemon.sharedDir, 'absolute'))
  symlinkSync('../secret', join(daemon.sharedDir, 'relative'))
  symlinkSync('..', join(daemon.sharedDir, 'up'))
  for (const name of ['absolute', 'relative']) {
    const link = client.lookup(ROOT_ID, name)
    expect(link.attr.mode & 0o170000).toBe(0o120000)
    for (const flags of [0, 1, 2, 0o1000 | 1]) {
      expect(outcome(() => client.open(link.nodeid, flags))).not.toBe('ok')
    }
    expect(outcome(() => client.setattr(link.nodeid, { valid: SetAttr.SIZE, size: 0 }))).not.toBe('ok')
    expect(outcome(() => client.setupMapping(link.nodeid, 0, 2 << 20, 2, 0))).not.toBe('ok')
    const before = lstatSync(join(daemon.directory, 'secret'))
    outcome(() => client.setattr(link.nodeid, { valid: SetAttr.MODE, mode: 0o777 }))
    outcome(() => client.setattr(link.nodeid, { valid: SetAttr.UID | SetAttr.GID, uid: 1234, gid: 1234 }))
    outcome(() => client.setattr(link.nodeid, { valid: SetAttr.MTIME, mtime: 1, mtimensec: 0 }))
    outcome(() => client.setxattr(link.nodeid, 'user.x', new Uint8Array(1)))
    outcome(() => client.create(ROOT_ID, name, 0o1000 | 2))
    const after = lstatSync(join(daemon.directory, 'secret'))
    expect([after.mode, after.uid, after.mtimeMs, after.ctimeMs]).toEqual([
      before.mode,
      before.uid,
      before.mtimeMs,
      before.ctimeMs,
    ])
  }
  const up = client.lookup(ROOT_ID, 'up')
  expect(outcome(() => client.lookup(up.nodeid, 'secret'))).toBe('ENOTDIR')
  expect(outcome(() => client.opendir(up.nodeid))).not.toBe('ok')
  expect(outcome(() => client.create(up.nodeid, 'new', 2))).not.toBe('ok')
  expect(readFileSync(join(daemon.directory, 'secret'), 'utf8')).toBe('secret')
})

test.skipIf(REFERENCE !== undefined)('reads no name beyond its NUL or its request', async () => {
  const { client, transport } = await sessionBesideSecret()
  for (const args of [Buffer.from('file'), new Uint8Array(0)]) {
    expect(outcome(() => transport.call(Opcode.LOOKUP, ROOT_ID, args, { replyBytes: 128 }))).toBe('EINVAL')
  }
  // "fi", which does not exist: a reply that the guest may keep says so by nodeid 0.
  const absent = transport.call(Opcode.LOOKUP, ROOT_ID, Buffer.from('fi\0le'), { replyBytes: 128 })
  expect(new DataView(absent.buffer, absent.byteOffset).getBigUint64(0, true)).toBe(0n)
  for (const args of [cString('a'), Buffer.from('a\0b'), Buffer.from('ab')]) {
    expect(outcome(() => transport.call(Opcode.SYMLINK, ROOT_ID, args, { replyBytes: 128 }))).not.toBe('ok')
    const rename = pack(['u64', 1], args)
    expect(outcome(() => transport.call(Opcode.RENAME, ROOT_ID, rename))).not.toBe('ok')
  }
  expect(client.lookup(ROOT_ID, 'file').attr.size).toBe(4)
})
