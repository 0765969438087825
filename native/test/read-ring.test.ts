// SPDX-License-Identifier: Apache-2.0
/** READs that the kernel carries out by itself (io_uring), from a ring and back into it. Needs a disk below the temporary directory. */
import { constants, ftruncateSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { requests } from '../../server/fuse/testing/messages.ts'
import { type Buffer as GuestBuffer, BUFFERS, MEMORY_BYTES, RingDriver } from './ring-driver.ts'
import { PassthroughBench } from './testing/passthrough-bench.ts'

const USER_BASE = 0x7000_0000_0000n
const HEADER = 16
const PAGE = 4096
const PAGES = 64
const READ_FLAGS = 40 + 32
const EFAULT = 14

/** Replies: a page for each head, behind the requests; its header ends where the page begins, as O_DIRECT wants it. */
const REPLIES = BUFFERS + 0x100000

interface Reads {
  readonly ring: RingDriver
  readonly contents: Uint8Array
  /** Sends a READ with a head of its own. */
  readonly read: (head: number, offset: number, size?: number, to?: number) => void
}

/** A ring whose device has a pool, over a file that is opened with O_DIRECT. */
function setUp(length = PAGES * PAGE): Reads {
  const bench = new PassthroughBench({ allowDirectIo: true })
  const contents = new Uint8Array(length).map((_, i) => (i / PAGE + i) & 0xff)
  writeFileSync(bench.at('file'), contents, { flush: true })
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, constants.O_RDONLY | constants.O_DIRECT)
  const ring = new RingDriver({ directory: bench.directory, poolThreads: 4, size: 256 })
  const read = (head: number, offset: number, size = PAGE, to = REPLIES + (2 * head + 1) * PAGE): void => {
    const request = requests.read(nodeid, fh, offset, size)
    new DataView(request.buffer, request.byteOffset).setUint32(READ_FLAGS, constants.O_DIRECT, true)
    const at = BUFFERS + head * 128
    ring.bytes.set(request, at)
    const buffers: GuestBuffer[] = [
      { address: at, length: request.length, writable: false },
      { address: REPLIES + (2 * head + 1) * PAGE - HEADER, length: HEADER, writable: true },
      { address: to, length: size, writable: true },
    ]
    ring.chain([3 * head, 3 * head + 1, 3 * head + 2], buffers)
    ring.publish(3 * head)
  }
  return { ring, contents, read }
}

/** Serves until `count` have been completed: their lengths by head. */
function complete(ring: RingDriver, count: number): Map<number, number> {
  const lengths = new Map<number, number>()
  while (lengths.size < count) {
    const used = ring.takeUsed()
    if (used === undefined) expect(ring.worker.next(1)).toBe(-2)
    else lengths.set(used.id / 3, used.length)
  }
  return lengths
}

function data({ ring }: Reads, head: number, size = PAGE): Uint8Array {
  const at = REPLIES + (2 * head + 1) * PAGE
  return ring.bytes.slice(at, at + size)
}

function errorOf({ ring }: Reads, head: number): number {
  return Math.abs(ring.view.getInt32(REPLIES + (2 * head + 1) * PAGE - HEADER + 4, true))
}

test('reads of the disk that are under way at once bring each its own part of the file', () => {
  const reads = setUp()
  const { ring, contents, read } = reads
  const before = ring.control.counters()
  for (let head = 0; head < PAGES; head++) read(head, ((head * 37) % PAGES) * PAGE)
  expect(complete(ring, PAGES).size).toBe(PAGES)
  for (let head = 0; head < PAGES; head++) {
    const from = ((head * 37) % PAGES) * PAGE
    expect(data(reads, head)).toEqual(contents.slice(from, from + PAGE))
    expect(errorOf(reads, head)).toBe(0)
  }
  const after = ring.control.counters()
  expect(after.asyncReads - before.asyncReads).toBe(PAGES)
  expect(after.pooled).toBe(before.pooled)
  expect(after.dataPlane.bytesRead - before.dataPlane.bytesRead).toBe(PAGES * PAGE)
})

test('a read that meets the end of the file is short, and one beyond it is empty', () => {
  const reads = setUp(PAGE + 100)
  const { ring, contents, read } = reads
  read(0, 0, 4 * PAGE)
  read(4, PAGE)
  read(5, 8 * PAGE)
  expect(Object.fromEntries(complete(ring, 3))).toEqual({ 0: HEADER + PAGE + 100, 4: HEADER + 100, 5: HEADER })
  expect(data(reads, 0, PAGE + 100)).toEqual(contents)
  expect(data(reads, 4, 100)).toEqual(contents.slice(PAGE))
  expect(ring.control.counters().asyncReads).toBe(3)
})

test('a buffer that is nowhere in memory fails its read alone', () => {
  const reads = setUp()
  const { ring, contents, read } = reads
  read(0, 0)
  read(1, PAGE, PAGE, MEMORY_BYTES + PAGE)
  read(2, 2 * PAGE)
  complete(ring, 3)
  expect([0, 1, 2].map((head) => errorOf(reads, head))).toEqual([0, EFAULT, 0])
  expect(data(reads, 2)).toEqual(contents.slice(2 * PAGE, 3 * PAGE))
})

test('data go to the memory in which the request came, whatever the frontend has mapped since', () => {
  const reads = setUp()
  const { ring, contents, read } = reads
  const faults = ring.control.counters().guardedFaults
  for (let round = 1; round <= 20; round++) {
    read(round, round * PAGE)
    // Taken, and given to the kernel.
    expect(ring.worker.next(0)).toBe(-2)
    const size = MEMORY_BYTES + round * PAGE
    ftruncateSync(ring.memfd, size)
    ring.control.setMemoryTable(BigUint64Array.of(0n, BigInt(size), USER_BASE, 0n), [ring.memfd])
    complete(ring, 1)
    expect(data(reads, round)).toEqual(contents.slice(round * PAGE, (round + 1) * PAGE))
  }
  expect(ring.control.counters().guardedFaults).toBe(faults)
})

test('memory that the frontend has truncated fails the reads into it', () => {
  const reads = setUp()
  const { ring, read } = reads
  read(0, 0, PAGE, MEMORY_BYTES - PAGE)
  expect(ring.worker.next(0)).toBe(-2)
  complete(ring, 1)
  expect(errorOf(reads, 0)).toBe(0)
  ftruncateSync(ring.memfd, MEMORY_BYTES - PAGE)
  read(1, 0, PAGE, MEMORY_BYTES - PAGE)
  complete(ring, 1)
  expect(errorOf(reads, 1)).toBe(EFAULT)
  ftruncateSync(ring.memfd, MEMORY_BYTES)
})

test('a stop is granted when the kernel has given back what it has', () => {
  for (let round = 0; round < 20; round++) {
    const { ring, read } = setUp()
    for (let head = 0; head < 32; head++) read(head, head * PAGE)
    expect(ring.worker.next(0)).toBe(-2)
    let stopped = ring.control.requestStop(1)
    while (!stopped) {
      expect(ring.worker.next(1)).toBe(-2)
      stopped = ring.control.requestStop(1)
    }
    const taken = ring.control.finishStop(1)
    expect(ring.usedIndex).toBe(taken)
  }
})

test('a worker that is closed waits for what the kernel has of it', () => {
  for (let round = 0; round < 20; round++) {
    const { ring, read } = setUp()
    for (let head = 0; head < 8; head++) read(head, head * PAGE)
    expect(ring.worker.next(0)).toBe(-2)
    const taken = ring.control.counters().requests
    ring.worker.close()
    expect(ring.usedIndex).toBe(taken)
  }
})
