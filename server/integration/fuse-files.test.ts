// SPDX-License-Identifier: Apache-2.0
/** OPEN, CREATE, READ, WRITE, FLUSH, FSYNC, RELEASE, TMPFILE. */
import { constants, existsSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'
import { pack } from './harness/wire.ts'

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants

/** Bytes that differ at every position. */
function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[i] = state >>> 16
  }
  return bytes
}

test('reads and writes at every size and alignment', async () => {
  const { client, daemon } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  const model = new Uint8Array(3 << 20)
  const sizes = [1, 2, 511, 512, 4095, 4096, 4097, 65_536, 100_001, 128 << 10, (256 << 10) + 1]
  let end = 0
  sizes.forEach((size, i) => {
    const offset = i * 131_071
    const data = pattern(size, i + 1)
    expect(client.write(entry.nodeid, fh, offset, data)).toBe(size)
    model.set(data, offset)
    end = Math.max(end, offset + size)
  })
  expect(Buffer.compare(readFileSync(join(daemon.sharedDir, 'file')), model.subarray(0, end))).toBe(0)
  for (const size of sizes) {
    for (const offset of [0, 1, 4095, 131_071, end - size, end - 1]) {
      const got = client.read(entry.nodeid, fh, offset, size)
      const wanted = model.subarray(offset, Math.min(offset + size, end))
      expect(Buffer.compare(got, wanted), `${size} at ${offset}`).toBe(0)
    }
  }
})

test('moves a megabyte in one request', async () => {
  const { client, daemon } = await startSession({ queueSize: 1024 })
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  const data = pattern(1 << 20)
  expect(client.write(entry.nodeid, fh, 0, data)).toBe(1 << 20)
  expect(Buffer.compare(readFileSync(join(daemon.sharedDir, 'file')), data)).toBe(0)
  expect(Buffer.compare(client.read(entry.nodeid, fh, 0, 1 << 20), data)).toBe(0)
})

test('ends at the end of file', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), '0123456789')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDONLY)
  expect(Buffer.from(client.read(nodeid, fh, 4, 4096)).toString()).toBe('456789')
  expect(client.read(nodeid, fh, 10, 4096)).toHaveLength(0)
  expect(client.read(nodeid, fh, 2 ** 40, 4096)).toHaveLength(0)
  expect(client.read(nodeid, fh, 0, 0)).toHaveLength(0)
})

test('reaches beyond 4 GiB, with holes', async () => {
  const { client, daemon } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  for (const offset of [2 ** 32 - 2048, 2 ** 33 + 5, 2 ** 40 + 4096]) {
    const data = pattern(4096, offset % 1000)
    expect(client.write(entry.nodeid, fh, offset, data)).toBe(4096)
    expect(Buffer.compare(client.read(entry.nodeid, fh, offset, 4096), data)).toBe(0)
  }
  const attr = client.getattr(entry.nodeid)
  expect(attr.size).toBe(2 ** 40 + 8192)
  expect(attr.blocks).toBeLessThan(1000)
  expect(Buffer.compare(client.read(entry.nodeid, fh, 2 ** 35, 65_536), Buffer.alloc(65_536))).toBe(0)
  expect(statSync(join(daemon.sharedDir, 'file')).size).toBe(2 ** 40 + 8192)
})

test('obeys the access mode of a handle', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'data')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const reader = client.open(nodeid, O_RDONLY)
  expect(outcome(() => client.write(nodeid, reader, 0, new Uint8Array(1)))).toBe('EBADF')
  const writer = client.open(nodeid, O_WRONLY)
  expect(client.write(nodeid, writer, 0, Buffer.from('DA'))).toBe(2)
  expect(Buffer.from(client.read(nodeid, reader, 0, 10)).toString()).toBe('DAta')
})

test('truncates at open', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'data')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR | O_TRUNC)
  expect(client.getattr(nodeid).size).toBe(0)
  client.write(nodeid, fh, 0, Buffer.from('new'))
  expect(readFileSync(join(daemon.sharedDir, 'file'), 'utf8')).toBe('new')
})

test.skipIf(REFERENCE !== undefined)('appends where the host has written meanwhile', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'one ')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_WRONLY | O_APPEND)
  expect(client.write(nodeid, fh, 4, Buffer.from('two '), { open: O_WRONLY | O_APPEND })).toBe(4)
  writeFileSync(path, 'host ', { flag: 'a' })
  client.write(nodeid, fh, 8, Buffer.from('three'), { open: O_WRONLY | O_APPEND })
  expect(readFileSync(path, 'utf8')).toBe('one two host three')
})

test('creates exclusively, or opens what is there', async () => {
  const { client, daemon } = await startSession()
  const { entry } = client.create(ROOT_ID, 'file', O_RDWR | O_CREAT | O_EXCL)
  expect(outcome(() => client.create(ROOT_ID, 'file', O_RDWR | O_CREAT | O_EXCL))).toBe('EEXIST')
  writeFileSync(join(daemon.sharedDir, 'file'), 'kept')
  const again = client.create(ROOT_ID, 'file', O_RDWR | O_CREAT)
  expect(again.entry.nodeid).toBe(entry.nodeid)
  expect(Buffer.from(client.read(entry.nodeid, again.fh, 0, 10)).toString()).toBe('kept')
  client.create(ROOT_ID, 'file', O_RDWR | O_CREAT | O_TRUNC)
  expect(client.getattr(entry.nodeid).size).toBe(0)
  client.mkdir(ROOT_ID, 'directory')
  // The guest thought that there was nothing: ESTALE makes it look again.
  expect(outcome(() => client.create(ROOT_ID, 'directory', O_RDWR | O_CREAT))).toMatch(/EISDIR|ESTALE/)
})

test('opens no directory as a file, nor a file as a directory', async () => {
  const { client } = await startSession()
  const directory = client.mkdir(ROOT_ID, 'directory')
  const { entry } = client.create(ROOT_ID, 'file', O_RDWR)
  expect(outcome(() => client.open(directory.nodeid, O_RDWR))).toBe('EISDIR')
  expect(outcome(() => client.opendir(entry.nodeid))).toBe('ENOTDIR')
})

test('keeps an unlinked file as long as it is open', async () => {
  const { client, daemon } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  client.write(entry.nodeid, fh, 0, Buffer.from('before '))
  client.unlink(ROOT_ID, 'file')
  expect(readdirSync(daemon.sharedDir)).toEqual([])
  client.write(entry.nodeid, fh, 7, Buffer.from('after'))
  expect(Buffer.from(client.read(entry.nodeid, fh, 0, 100)).toString()).toBe('before after')
  expect(client.getattr(entry.nodeid)).toMatchObject({ nlink: 0, size: 12 })
  // A second handle by node id alone, as DAX and /proc/self/fd need it.
  const other = client.open(entry.nodeid, O_RDONLY)
  expect(client.read(entry.nodeid, other, 0, 6)).toEqual(Buffer.from('before'))
  client.release(entry.nodeid, other)
  client.release(entry.nodeid, fh)
})

test('flushes and syncs', async () => {
  const { client, daemon } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  client.write(entry.nodeid, fh, 0, Buffer.from('synced'))
  client.flush(entry.nodeid, fh)
  client.fsync(entry.nodeid, fh)
  client.fsync(entry.nodeid, fh, true)
  if (REFERENCE === undefined) {
    client.syncfs(ROOT_ID)
  }
  const directory = client.opendir(ROOT_ID)
  client.fsyncdir(ROOT_ID, directory)
  client.releasedir(ROOT_ID, directory)
  client.release(entry.nodeid, fh)
  expect(outcome(() => client.read(entry.nodeid, fh, 0, 1))).toBe('EBADF')
  expect(outcome(() => client.readdir(ROOT_ID, directory, 0n))).toBe('EBADF')
  expect(readFileSync(join(daemon.sharedDir, 'file'), 'utf8')).toBe('synced')
})

test.skipIf(REFERENCE !== undefined)('makes a file without a name and gives it one', async () => {
  const { client, daemon } = await startSession()
  const { entry, fh } = client.tmpfile(ROOT_ID, O_RDWR)
  expect(entry.attr.nlink).toBe(0)
  client.write(entry.nodeid, fh, 0, Buffer.from('nameless'))
  expect(readdirSync(daemon.sharedDir)).toEqual([])
  const linked = client.link(entry.nodeid, ROOT_ID, 'named')
  expect(linked.nodeid).toBe(entry.nodeid)
  expect(linked.attr.nlink).toBe(1)
  expect(readFileSync(join(daemon.sharedDir, 'named'), 'utf8')).toBe('nameless')
})

test.skipIf(REFERENCE !== undefined)('never links a nameless file that was opened with O_EXCL', async () => {
  const { client, daemon } = await startSession()
  const { entry } = client.tmpfile(ROOT_ID, O_RDWR | O_EXCL)
  expect(outcome(() => client.link(entry.nodeid, ROOT_ID, 'named'))).toBe('ENOENT')
  expect(existsSync(join(daemon.sharedDir, 'named'))).toBe(false)
})

test('reads what is left of a file that the host shortens', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, pattern(100_000))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDONLY)
  expect(client.read(nodeid, fh, 0, 65_536)).toHaveLength(65_536)
  truncateSync(path, 5000)
  expect(client.read(nodeid, fh, 0, 65_536)).toEqual(Buffer.from(pattern(100_000).subarray(0, 5000)))
})

test('closes what the guest releases', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'x')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  client.release(nodeid, client.open(nodeid, O_RDWR))
  const before = daemon.openFiles
  const handles = Array.from({ length: 100 }, () => client.open(nodeid, O_RDWR))
  for (const fh of handles) {
    client.release(nodeid, fh)
  }
  expect(daemon.openFiles).toBeLessThanOrEqual(before + 2)
})

test.skipIf(REFERENCE !== undefined)(
  'says once that it has no descriptors left, and flushes what is open',
  async () => {
    const { client, daemon, queues, transport } = await startSession({ args: ['--rlimit-nofile=700'], queues: 3 })
    const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
    const handles = [fh]
    const openAll = (): string => outcome(() => handles.push(client.open(entry.nodeid, O_RDONLY)))
    while (openAll() === 'ok');
    expect(openAll()).toBe('ENFILE')
    const options = { replyBytes: 16, ...(queues[2] === undefined ? {} : { queue: queues[2] }) }
    const open = pack(['u32', O_RDONLY], ['u32', 0])
    expect(outcome(() => transport.call(Opcode.OPEN, entry.nodeid, open, options))).toBe('ENFILE')
    client.flush(entry.nodeid, fh)
    client.release(entry.nodeid, handles.pop() ?? 0n)
    expect(openAll()).toBe('ok')
    expect(daemon.log.match(/ENFILE/g)).toHaveLength(1)
  },
)
