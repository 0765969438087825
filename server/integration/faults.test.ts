// SPDX-License-Identifier: Apache-2.0
/** A host file system that fails, fills up or dies: the guest gets the error, the daemon lives. */
import { constants, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Errno } from '../errno.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { mountBadDisk } from './harness/bad-disk.ts'
import { outcome, startSession } from './harness/session.ts'
import { WINDOW_GPA } from './harness/shared-memory-window.ts'
import { RANGE, READ, stamped, startWindowSession, WRITE } from './harness/window-session.ts'

const { O_RDONLY, O_RDWR } = constants

test('passes EIO of a read on, and reads again afterwards', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), 'precious')
  const { client } = await startSession({ sharedDir: disk.mountPoint })
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const rule = await disk.fail('read', Errno.EIO, { path: '/file' })
  const fh = client.open(nodeid, O_RDONLY)
  expect(outcome(() => client.read(nodeid, fh, 0, 4096))).toBe('EIO')
  await rule.hit()
  await rule.end()
  expect(client.read(nodeid, fh, 0, 4096)).toEqual(Buffer.from('precious'))
})

test.each([
  ['EIO', 5],
  ['ENOSPC', 28],
  ['EDQUOT', 122],
] as const)('passes %s of a write on', async (name, errno) => {
  const disk = await mountBadDisk()
  const { client } = await startSession({ sharedDir: disk.mountPoint })
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  client.write(entry.nodeid, fh, 0, Buffer.from('before'))
  const rule = await disk.fail('write', errno)
  expect(outcome(() => client.write(entry.nodeid, fh, 6, Buffer.alloc(10_000)))).toBe(name)
  await rule.end()
  expect(client.write(entry.nodeid, fh, 6, Buffer.from(' after'))).toBe(6)
  expect(readFileSync(join(disk.backing, 'file'), 'utf8')).toBe('before after')
})

test('passes EIO of fsync and of every operation on names on', async () => {
  const disk = await mountBadDisk()
  const { client } = await startSession({ sharedDir: disk.mountPoint })
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  client.mkdir(ROOT_ID, 'directory')
  writeFileSync(join(disk.backing, 'closed'), '')
  client.write(entry.nodeid, fh, 0, Buffer.from('data'))
  for (const [operation, call] of [
    ['fsync', () => client.fsync(entry.nodeid, fh)],
    ['mkdir', () => client.mkdir(ROOT_ID, 'new')],
    ['create', () => client.create(ROOT_ID, 'new', O_RDWR)],
    ['symlink', () => client.symlink(ROOT_ID, 'new', 'target')],
    ['link', () => client.link(entry.nodeid, ROOT_ID, 'new')],
    ['rename', () => client.rename(ROOT_ID, 'file', ROOT_ID, 'new')],
    ['unlink', () => client.unlink(ROOT_ID, 'closed')],
    ['rmdir', () => client.rmdir(ROOT_ID, 'directory')],
    ['chmod', () => client.setattr(entry.nodeid, { valid: 1, mode: 0o600 })],
    ['truncate', () => client.setattr(entry.nodeid, { valid: 8, size: 1 })],
    ['statfs', () => client.statfs(ROOT_ID)],
    ['readdir', () => client.readdir(ROOT_ID, client.opendir(ROOT_ID), 0n)],
  ] as const) {
    const rule = await disk.fail(operation, Errno.EIO)
    expect(outcome(call), operation).toBe('EIO')
    await rule.end()
  }
  expect(readFileSync(join(disk.backing, 'file'), 'utf8')).toBe('data')
  client.fsync(entry.nodeid, fh)
})

test('says how much of a short write was written', async () => {
  const disk = await mountBadDisk()
  const { client } = await startSession({ sharedDir: disk.mountPoint })
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  const rule = await disk.shorten('write', 1000)
  const data = stamped(4000, 1)
  const written = client.write(entry.nodeid, fh, 0, data)
  await rule.end()
  expect(written).toBeGreaterThan(0)
  // What is said to be written is there.
  expect(readFileSync(join(disk.backing, 'file')).subarray(0, written)).toEqual(data.subarray(0, written))
})

test('outlives the death of the file system', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), 'data')
  const { client, daemon } = await startSession({ sharedDir: disk.mountPoint })
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR)
  await disk.kill()
  expect(outcome(() => client.write(nodeid, fh, 0, Buffer.from('x')))).toBe('ENOTCONN')
  expect(outcome(() => client.lookup(ROOT_ID, 'other'))).toBe('ENOTCONN')
  expect(outcome(() => client.create(ROOT_ID, 'other', O_RDWR))).toBe('ENOTCONN')
  outcome(() => client.release(nodeid, fh))
  expect(daemon.alive).toBe(true)
})

test('lives on when a mapped file is truncated', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), stamped(RANGE, 3))
  const { client, daemon, window } = await startWindowSession({ sharedDir: disk.mountPoint })
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  expect(window.read(1 << 20, 16)).toEqual(new Uint8Array(stamped(RANGE, 3).subarray(1 << 20, (1 << 20) + 16)))
  truncateSync(disk.at('file'), 8192)
  const { entry, fh } = client.create(ROOT_ID, 'target', O_RDWR)
  const cut = [{ gpa: WINDOW_GPA + (1 << 20), length: 4096 }]
  expect(outcome(() => client.write(entry.nodeid, fh, 0, cut))).toBe('EFAULT')
  expect(outcome(() => client.read(entry.nodeid, fh, 0, 4096, cut))).toMatch(/ok|EFAULT/)
  expect(client.write(entry.nodeid, fh, 0, [{ gpa: WINDOW_GPA, length: 4096 }])).toBe(4096)
  expect(window.read(1 << 20, 16)).toBeUndefined()
  expect(daemon.alive).toBe(true)
})

test('fails a request alone whose data lies in a page that can not be read', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), stamped(RANGE, 3))
  const { client, daemon, window } = await startWindowSession({ sharedDir: disk.mountPoint })
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const { entry, fh } = client.create(ROOT_ID, 'target', O_RDWR)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  const rule = await disk.fail('read', Errno.EIO, { path: '/file' })
  const page = [{ gpa: WINDOW_GPA + (1 << 20), length: 4096 }]
  expect(outcome(() => client.write(entry.nodeid, fh, 0, page))).toMatch(/EFAULT|EIO/)
  expect(window.read(1 << 20, 16)).toBeUndefined()
  await rule.end()
  expect(client.write(entry.nodeid, fh, 0, page)).toBe(4096)
  expect(daemon.alive).toBe(true)
})
