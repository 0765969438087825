// SPDX-License-Identifier: Apache-2.0
/** FALLOCATE, LSEEK and COPY_FILE_RANGE. */
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'

const { O_RDONLY, O_RDWR } = constants
const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE: 8, ZERO: 16, INSERT: 32 } as const
/** The guest answers SET, CUR and END by itself. */
const SEEK = { DATA: 3, HOLE: 4 } as const

test('allocates, with and without a new size', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  client.fallocate(entry.nodeid, fh, 0, 1 << 20, 0)
  expect(client.getattr(entry.nodeid).size).toBe(1 << 20)
  client.fallocate(entry.nodeid, fh, 1 << 20, 1 << 20, FALLOC.KEEP_SIZE)
  const stat = statSync(path)
  expect(stat.size).toBe(1 << 20)
  expect(stat.blocks * 512).toBeGreaterThanOrEqual(2 << 20)
})

test('punches holes and zeroes ranges', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, Buffer.alloc(1 << 20, 0x61))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR)
  const full = statSync(path).blocks
  client.fallocate(nodeid, fh, 65_536, 131_072, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE)
  expect(statSync(path).blocks).toBe(full - 131_072 / 512)
  client.fallocate(nodeid, fh, 500_000, 10, FALLOC.ZERO)
  const model = Buffer.alloc(1 << 20, 0x61)
    .fill(0, 65_536, 196_608)
    .fill(0, 500_000, 500_010)
  expect(Buffer.compare(readFileSync(path), model)).toBe(0)
  expect(outcome(() => client.fallocate(nodeid, fh, 0, 4096, FALLOC.PUNCH_HOLE))).toBe('ENOTSUP')
  expect(outcome(() => client.fallocate(nodeid, fh, 0, 0, 0))).toBe('EINVAL')
  expect(outcome(() => client.fallocate(nodeid, client.open(nodeid, O_RDONLY), 0, 4096, 0))).toBe('EBADF')
})

test('finds data and holes', async () => {
  const { client } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  const { nodeid } = entry
  const block = new Uint8Array(65_536).fill(1)
  client.write(nodeid, fh, 0, block)
  client.write(nodeid, fh, 5 * 2 ** 30, block)
  expect(client.lseek(nodeid, fh, 0, SEEK.DATA)).toBe(0)
  expect(client.lseek(nodeid, fh, 0, SEEK.HOLE)).toBe(65_536)
  expect(client.lseek(nodeid, fh, 65_536, SEEK.DATA)).toBe(5 * 2 ** 30)
  expect(client.lseek(nodeid, fh, 5 * 2 ** 30, SEEK.HOLE)).toBe(5 * 2 ** 30 + 65_536)
  expect(outcome(() => client.lseek(nodeid, fh, 6 * 2 ** 30, SEEK.DATA))).toBe('ENXIO')
  expect(outcome(() => client.lseek(nodeid, fh, 0, 99))).toBe('EINVAL')
})

test('copies ranges within the host', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'from')
  writeFileSync(path, Buffer.from('0123456789'.repeat(2000)))
  const from = client.lookup(ROOT_ID, 'from').nodeid
  const fromFh = client.open(from, O_RDONLY)
  const to = client.create(ROOT_ID, 'to', O_RDWR)
  const target = { nodeid: to.entry.nodeid, fh: to.fh }
  expect(client.copyFileRange({ nodeid: from, fh: fromFh, offset: 5 }, { ...target, offset: 3 }, 10_000)).toBe(10_000)
  const copied = Buffer.concat([Buffer.alloc(3), readFileSync(path).subarray(5, 10_005)])
  expect(Buffer.compare(readFileSync(join(daemon.sharedDir, 'to')), copied)).toBe(0)
  expect(client.copyFileRange({ nodeid: from, fh: fromFh, offset: 19_990 }, { ...target, offset: 0 }, 100)).toBe(10)
  expect(client.copyFileRange({ nodeid: from, fh: fromFh, offset: 20_000 }, { ...target, offset: 0 }, 100)).toBe(0)
  const wrong = { nodeid: from, fh: 77_777n, offset: 0 }
  expect(outcome(() => client.copyFileRange(wrong, { ...target, offset: 0 }, 10))).toBe('EBADF')
  expect(outcome(() => client.copyFileRange({ nodeid: from, fh: fromFh, offset: 0 }, wrong, 10))).toBe('EBADF')
})

test.skipIf(REFERENCE !== undefined)('copies more than 32 bits of length count', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'from')
  writeFileSync(path, 'start')
  truncateSync(path, 5 * 2 ** 30)
  const from = client.lookup(ROOT_ID, 'from').nodeid
  const fromFh = client.open(from, O_RDONLY)
  const to = client.create(ROOT_ID, 'to', O_RDWR)
  // The end of a sparse file: the range reaches far beyond it, little is copied.
  const got = client.copyFileRange(
    { nodeid: from, fh: fromFh, offset: 5 * 2 ** 30 - 65_536 },
    { nodeid: to.entry.nodeid, fh: to.fh, offset: 5 * 2 ** 30 - 65_536 },
    6 * 2 ** 30,
    true,
  )
  expect(got).toBe(65_536)
  expect(statSync(join(daemon.sharedDir, 'to')).size).toBe(5 * 2 ** 30)
})

test.skipIf(REFERENCE !== undefined)(
  'copies holes as holes, on both sides of 4 GiB, and makes zeros of what is in the way',
  async () => {
    const { client, daemon } = await startSession()
    const GIB = 2 ** 30
    const size = 6 * GIB + 5
    const paths = [join(daemon.sharedDir, 'from'), join(daemon.sharedDir, 'to')] as const
    const islands = [0, 4 * GIB - 50_000, 5 * GIB + 4096]
    const data = Buffer.alloc(100_000, 'data')
    const write = (path: string, offsets: readonly number[]) => {
      const fd = openSync(path, 'w')
      for (const offset of offsets) writeSync(fd, data, 0, data.length, offset)
      closeSync(fd)
    }
    write(paths[0], islands)
    truncateSync(paths[0], size)
    write(paths[1], [GIB + 3])
    const open = (name: string) => {
      const { nodeid } = client.lookup(ROOT_ID, name)
      return { nodeid, fh: client.open(nodeid, O_RDWR) }
    }
    const [from, to] = [open('from'), open('to')]
    const copied = client.copyFileRange({ ...from, offset: 0 }, { ...to, offset: 0 }, 7 * GIB, true)
    expect(copied).toBe(size)
    const status = statSync(paths[1])
    expect(status.size).toBe(size)
    expect(status.blocks * 512).toBeLessThan(2 ** 20)
    const fd = openSync(paths[1], 'r')
    const read = (offset: number, length = data.length): Buffer => {
      const buffer = Buffer.alloc(length)
      readSync(fd, buffer, 0, length, offset)
      return buffer
    }
    for (const offset of islands) expect(read(offset).equals(data)).toBe(true)
    expect(read(GIB).equals(Buffer.alloc(data.length))).toBe(true)
    expect(read(size - 5, 5).equals(Buffer.alloc(5))).toBe(true)
    closeSync(fd)
    // Within one file, and over itself.
    const within = { ...from, offset: 5 * GIB }
    expect(client.copyFileRange({ ...from, offset: 4 * GIB - 50_000 }, within, 100_000, true)).toBe(100_000)
    expect(
      outcome(() => client.copyFileRange({ ...from, offset: GIB }, { ...from, offset: 2 * GIB }, 2 * GIB, true)),
    ).toBe('EINVAL')
  },
)

test.skipIf(REFERENCE !== undefined)('copies no more data at once than others can wait for', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'from'), Buffer.alloc(260 << 20, 7))
  const { nodeid } = client.lookup(ROOT_ID, 'from')
  const from = { nodeid, fh: client.open(nodeid, O_RDONLY) }
  const { entry, fh } = client.create(ROOT_ID, 'to', O_RDWR)
  const to = { nodeid: entry.nodeid, fh }
  expect(client.copyFileRange({ ...from, offset: 0 }, { ...to, offset: 0 }, 2 ** 30)).toBe(256 << 20)
  expect(client.copyFileRange({ ...from, offset: 256 << 20 }, { ...to, offset: 256 << 20 }, 2 ** 30)).toBe(4 << 20)
  expect(statSync(join(daemon.sharedDir, 'to')).size).toBe(260 << 20)
})
