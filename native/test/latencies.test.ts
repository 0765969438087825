// SPDX-License-Identifier: Apache-2.0
/** What is told of how long requests take, and of which inodes they are about. */
import { constants, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FuseOpcode } from '../../server/fuse/abi.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import { RingDriver } from './ring-driver.ts'
import { PassthroughBench } from './testing/passthrough-bench.ts'

const REPLY = 4096
/** A request that is timed stands for so many at most, itself included (native/session/latencies.h). */
const MOST_AT_ONCE = 31

function timed(ring: RingDriver, wanted: number): { requests: number; steps: number } {
  const histogram = ring.control.latencies().find(({ opcode }) => opcode === wanted)
  const buckets = histogram?.buckets ?? []
  return { requests: buckets.reduce((sum, count) => sum + count, 0), steps: buckets.length }
}

function served(): { ring: RingDriver; bench: PassthroughBench; nodeid: number } {
  const bench = new PassthroughBench()
  writeFileSync(bench.at('file'), 'contents')
  const { nodeid } = bench.lookup('file')
  return { bench, nodeid, ring: new RingDriver({ directory: bench.directory, poolThreads: 1 }) }
}

test('those that are timed stand for all that are served from memory', () => {
  const { ring, nodeid } = served()
  for (let i = 1; i <= 500; i++) {
    ring.submitSimple(requests.getattr(nodeid), REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    const { requests: count, steps } = timed(ring, FuseOpcode.GETATTR)
    expect(count).toBeLessThanOrEqual(i)
    expect(count).toBeGreaterThan(i - MOST_AT_ONCE)
    expect(steps).toBe(112)
  }
  const hot = ring.control.hotInodes().find((inode) => inode.nodeid === nodeid)
  expect(hot?.requests).toBe(timed(ring, FuseOpcode.GETATTR).requests)
})

test('each one is timed that the pool or the control plane serves, and takes its time', () => {
  const { ring, bench, nodeid } = served()
  const fh = bench.open(nodeid, constants.O_RDWR)
  for (let i = 1; i <= 20; i++) {
    ring.submitSimple(requests.fsync(nodeid, fh), REPLY)
    while (ring.takeUsed() === undefined) expect(ring.worker.next(1)).toBe(-2)
    expect(timed(ring, FuseOpcode.FSYNC).requests).toBe(i)
  }
  const asked = new RingDriver()
  for (let i = 1; i <= 20; i++) {
    asked.submitSimple(RingDriver.request(40, FuseOpcode.STATFS, i), REPLY)
    expect(asked.worker.next(0)).toBe(1)
    asked.worker.replyError(0)
    expect(timed(asked, FuseOpcode.STATFS).requests).toBe(i)
  }
  const [statfs] = asked.control.latencies()
  expect(statfs?.nanoseconds).toBeGreaterThan(0)
})

test('one that waits for a lock, set aside, is timed from the ring on', () => {
  const ring = new RingDriver()
  ring.submitSimple(RingDriver.request(40, FuseOpcode.SETLKW, 1), REPLY)
  expect(ring.worker.next(0)).toBe(1)
  const began = performance.now()
  const deferred = ring.worker.defer()
  expect(ring.worker.next(20)).toBe(-2)
  ring.worker.resume(deferred)
  const waited = (performance.now() - began) * 1e6
  ring.worker.replyError(0)
  expect(ring.control.latencies()[0]?.nanoseconds).toBeGreaterThanOrEqual(waited)
})

test('the inodes with most requests stay, however many others there are', () => {
  const { ring, bench, nodeid } = served()
  const others = Array.from({ length: 2000 }, (_, i) => {
    writeFileSync(bench.at(`other-${i}`), '')
    return bench.lookup(`other-${i}`).nodeid
  })
  for (const other of others) {
    for (const each of [nodeid, other]) {
      ring.submitSimple(requests.getattr(each), REPLY)
      ring.worker.next(0)
    }
  }
  const hot = ring.control.hotInodes().toSorted((one, other) => other.requests - one.requests)
  expect(hot[0]?.nodeid).toBe(nodeid)
  expect(hot.length).toBeLessThanOrEqual(256)
})
