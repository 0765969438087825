// SPDX-License-Identifier: Apache-2.0
/** Requests that the pool serves, from a ring and back into it. */
import { constants, ftruncateSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { requests } from '../../server/fuse/testing/messages.ts'
import { BUFFERS, MEMORY_BYTES, RingDriver } from './ring-driver.ts'
import { PassthroughBench } from './testing/passthrough-bench.ts'

const USER_BASE = 0x7000_0000_0000n
const HEADER = 16
const PAGE = 4096

/** A ring whose device has a pool, over a directory with one open file. */
function setUp(): { ring: RingDriver; nodeid: number; fh: number; bench: PassthroughBench } {
  const bench = new PassthroughBench()
  writeFileSync(bench.at('file'), 'contents')
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, constants.O_RDWR)
  return { ring: new RingDriver({ directory: bench.directory, poolThreads: 4 }), nodeid, fh, bench }
}

/** What the device has completed next. */
function nextUsed(ring: RingDriver): { id: number; length: number } {
  for (;;) {
    const used = ring.takeUsed()
    if (used !== undefined) return used
    expect(ring.worker.next(1)).toBe(-2)
  }
}

test('a reply goes to the memory in which its request came, whatever the frontend has mapped since', () => {
  const { ring, nodeid, fh } = setUp()
  const faults = ring.control.counters().guardedFaults
  for (let round = 1; round <= 50; round++) {
    ring.submitSimple(requests.fsync(nodeid, fh), HEADER)
    // Taken, and put off.
    expect(ring.worker.next(0)).toBe(-2)
    // A region that the device has not had before: the old one goes as soon as nobody uses it.
    const size = MEMORY_BYTES + round * PAGE
    ftruncateSync(ring.memfd, size)
    ring.control.setMemoryTable(BigUint64Array.of(0n, BigInt(size), USER_BASE, 0n), [ring.memfd])
    expect(nextUsed(ring)).toEqual({ id: 0, length: HEADER })
    expect(ring.view.getInt32(BUFFERS + 0x10000 + 4, true)).toBe(0)
  }
  expect(ring.control.counters().guardedFaults).toBe(faults)
})

test('every request comes back once, and is counted', () => {
  const { ring, nodeid, fh } = setUp()
  const fsync = 20
  const count = 200
  const before = ring.control.counters().dataPlane
  for (let i = 0; i < count; i++) {
    ring.submitSimple(requests.fsync(nodeid, i % 2 === 0 ? fh : 999), HEADER)
    expect(nextUsed(ring)).toEqual({ id: 0, length: HEADER })
    expect(ring.view.getInt32(BUFFERS + 0x10000 + 4, true)).toBe(i % 2 === 0 ? 0 : -9)
  }
  const after = ring.control.counters().dataPlane
  expect(after.requests[fsync]).toBe((before.requests[fsync] ?? 0) + count)
  expect(after.errors).toBe(before.errors + count / 2)
})

test('a worker that is closed waits for what the pool has of it', () => {
  for (let round = 0; round < 20; round++) {
    const { ring, nodeid, fh } = setUp()
    ring.submitSimple(requests.fsync(nodeid, fh), HEADER)
    expect(ring.worker.next(0)).toBe(-2)
    ring.worker.close()
    expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
    expect(ring.control.requestStop(1)).toBe(true)
  }
})
