// SPDX-License-Identifier: Apache-2.0
/** A read-only export: everything can be read and nothing changed. */
import { constants, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID, SetAttr } from './harness/fuse-abi.ts'
import { REFERENCE } from './harness/daemon.ts'
import { outcome, startSession } from './harness/session.ts'

// virtiofsd has its read-only export from its sandbox's mount, which the harness turns off.
test.skipIf(REFERENCE !== undefined)('refuses every change with EROFS', async () => {
  const { client, daemon } = await startSession({ args: ['--readonly'] })
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'data')
  mkdirSync(join(daemon.sharedDir, 'directory'))
  const before = statSync(path)
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, constants.O_RDONLY)
  expect(client.read(nodeid, fh, 0, 10)).toEqual(Buffer.from('data'))
  const operations: Record<string, () => unknown> = {
    openForWriting: () => client.open(nodeid, constants.O_WRONLY),
    openReadWrite: () => client.open(nodeid, constants.O_RDWR),
    openTruncating: () => client.open(nodeid, constants.O_RDONLY | constants.O_TRUNC),
    create: () => client.create(ROOT_ID, 'new', constants.O_RDWR),
    tmpfile: () => client.tmpfile(ROOT_ID, constants.O_RDWR),
    mkdir: () => client.mkdir(ROOT_ID, 'new'),
    mknod: () => client.mknod(ROOT_ID, 'new', constants.S_IFREG | 0o600),
    symlink: () => client.symlink(ROOT_ID, 'new', 'x'),
    link: () => client.link(nodeid, ROOT_ID, 'new'),
    unlink: () => client.unlink(ROOT_ID, 'file'),
    rmdir: () => client.rmdir(ROOT_ID, 'directory'),
    rename: () => client.rename(ROOT_ID, 'file', ROOT_ID, 'new'),
    rename2: () => client.rename2(ROOT_ID, 'file', ROOT_ID, 'new', 1),
    chmod: () => client.setattr(nodeid, { valid: SetAttr.MODE, mode: 0o777 }),
    chown: () => client.setattr(nodeid, { valid: SetAttr.UID, uid: 1 }),
    truncate: () => client.setattr(nodeid, { valid: SetAttr.SIZE, size: 0 }),
    utimens: () => client.setattr(nodeid, { valid: SetAttr.MTIME, mtime: 1 }),
    setxattr: () => client.setxattr(nodeid, 'user.x', new Uint8Array(1)),
    removexattr: () => client.removexattr(nodeid, 'user.x'),
  }
  for (const [name, operation] of Object.entries(operations)) {
    expect(outcome(operation), name).toBe('EROFS')
  }
  for (const [name, operation] of Object.entries({
    write: () => client.write(nodeid, fh, 0, new Uint8Array(1)),
    fallocate: () => client.fallocate(nodeid, fh, 0, 4096, 0),
    copy: () => client.copyFileRange({ nodeid, fh, offset: 0 }, { nodeid, fh, offset: 2 }, 1),
  })) {
    expect(['EROFS', 'EBADF'], name).toContain(outcome(operation))
  }
  // Only the new attempt at an existing file counts; O_CREAT without need is a plain open.
  expect(outcome(() => client.create(ROOT_ID, 'file', constants.O_RDONLY))).toMatch(/^(ok|EROFS)$/)
  expect(outcome(() => client.access(nodeid, constants.W_OK))).toMatch(/EROFS|ENOSYS/)
  expect(readdirSync(daemon.sharedDir).toSorted()).toEqual(['directory', 'file'])
  expect(readFileSync(path, 'utf8')).toBe('data')
  const after = statSync(path)
  expect([after.mode, after.uid, after.mtimeMs, after.size]).toEqual([before.mode, 0, before.mtimeMs, 4])
})
