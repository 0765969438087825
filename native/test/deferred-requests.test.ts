// SPDX-License-Identifier: Apache-2.0
/** Requests that are set aside while others of their queue are served. */
import { constants } from 'node:os'
import { expect, test } from 'vitest'
import { BUFFERS, MEMORY_BYTES, RingDriver } from './ring-driver.ts'

const { EINVAL, EAGAIN, ENOENT, ENOLCK } = constants.errno
const TIMED_OUT = -2
const SETLKW = 33
const SETUPMAPPING = 48
const HEADER = 16

/** A request with room for a header, in two slots from `slot` on; its reply is at `replyOf(slot)`. */
function submit(ring: RingDriver, slot: number, unique: number, opcode = SETLKW): void {
  const request = RingDriver.request(88, opcode, unique)
  const address = BUFFERS + slot * 0x1000
  ring.bytes.set(request, address)
  ring.chain(
    [slot, slot + 1],
    [
      { address, length: request.length, writable: false },
      { address: replyOf(slot), length: HEADER, writable: true },
    ],
  )
  ring.publish(slot)
}
const replyOf = (slot: number): number => BUFFERS + slot * 0x1000 + 0x800

/** [length, error, unique] of the reply. */
function header(ring: RingDriver, slot: number): number[] {
  const at = replyOf(slot)
  return [ring.view.getUint32(at, true), ring.view.getInt32(at + 4, true), Number(ring.view.getBigUint64(at + 8, true))]
}

/** Takes the next request and sets it aside. */
function defer(ring: RingDriver): number {
  expect(ring.worker.next(0)).toBe(1)
  const deferred = ring.worker.defer()
  expect(deferred).toBeGreaterThanOrEqual(0)
  return deferred
}

/** Completes one that was set aside, without a body. */
function complete(ring: RingDriver, deferred: number, errno: number): number {
  const resumed = ring.worker.resume(deferred)
  return resumed < 0 ? resumed : ring.worker.replyError(errno)
}

test('others come and go meanwhile, and each gets its own reply', () => {
  const ring = new RingDriver()
  submit(ring, 0, 100)
  const first = defer(ring)
  submit(ring, 2, 102)
  const second = defer(ring)
  submit(ring, 4, 104)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.replyError(0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 4, length: HEADER })
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(complete(ring, second, 4)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 2, length: HEADER })
  expect(header(ring, 2)).toEqual([HEADER, -4, 102])
  expect(complete(ring, first, 0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, 0, 100])
  expect(complete(ring, first, 0)).toBe(-ENOENT)
  expect(ring.takeUsed()).toBeUndefined()
})

test('one that is resumed is the request that it was, and can have a body for a reply', () => {
  const ring = new RingDriver()
  const request = RingDriver.request(200, SETLKW, 100)
  ring.bytes.set(request, BUFFERS)
  // The room for the reply in two pieces, and more of it than such a reply may need.
  ring.chain(
    [0, 1, 2],
    [
      { address: BUFFERS, length: request.length, writable: false },
      { address: replyOf(0), length: 20, writable: true },
      { address: replyOf(2), length: 1000, writable: true },
    ],
  )
  ring.publish(0)
  let deferred = defer(ring)
  submit(ring, 4, 104)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.resume(deferred)).toBe(-EINVAL)
  expect(ring.worker.replyError(0)).toBe(0)
  for (let times = 0; times < 3; times++) {
    // The guest may do what it likes with its own meanwhile.
    ring.bytes.fill(0, BUFFERS, BUFFERS + request.length)
    expect(ring.worker.resume(deferred)).toBe(0)
    expect([...ring.worker.state.subarray(0, 3)]).toEqual([request.length, 0, 256])
    expect(new Uint8Array(ring.worker.requestBuffer, 0, request.length)).toEqual(request)
    deferred = ring.worker.defer()
  }
  expect(ring.worker.resume(deferred)).toBe(0)
  new Uint8Array(ring.worker.replyBuffer).set([1, 2, 3, 4, 5, 6], HEADER)
  expect(ring.worker.reply(6)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 4, length: HEADER })
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER + 6 })
  expect(header(ring, 0)).toEqual([HEADER + 6, 0, 100])
  expect([...ring.bytes.subarray(replyOf(0) + HEADER, replyOf(0) + 20)]).toEqual([1, 2, 3, 4])
  expect([...ring.bytes.subarray(replyOf(2), replyOf(2) + 3)]).toEqual([5, 6, 0])
})

test('one that is resumed can not be given back: another is the last that came from the ring', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  const deferred = defer(ring)
  expect(ring.worker.resume(deferred)).toBe(0)
  expect(ring.worker.giveBack()).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, -EAGAIN, 7])
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
})

test('a request that is too large to be kept is not set aside', () => {
  const ring = new RingDriver()
  ring.submitSimple(RingDriver.request(8193, SETLKW, 1), HEADER)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.defer()).toBe(-ENOLCK)
  expect(ring.worker.replyError(ENOLCK)).toBe(0)
})

test('no more than 1024 are set aside, though a guest may make one chain available again and again', () => {
  const ring = new RingDriver()
  submit(ring, 0, 100)
  const deferred = [defer(ring)]
  while (deferred.length < 1024) {
    ring.publish(0)
    deferred.push(defer(ring))
  }
  ring.publish(0)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.defer()).toBe(-ENOLCK)
  expect(ring.worker.replyError(ENOLCK)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, -ENOLCK, 100])
  expect(complete(ring, deferred[0] ?? -1, 0)).toBe(0)
  ring.publish(0)
  defer(ring)
})

test('the stop of the queue ends them, before it is granted', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  const deferred = defer(ring)
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.control.requestStop(1)).toBe(false)
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, -EAGAIN, 7])
  expect(complete(ring, deferred, 0)).toBe(-ENOENT)
  expect(ring.control.finishStop(1)).toBe(1)
  // Nothing of it is left for the next life of the queue.
  ring.start(1)
  submit(ring, 2, 9)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.replyError(0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 2, length: HEADER })
  expect(complete(ring, deferred, 0)).toBe(-ENOENT)
})

test('the stop of the queue waits for a SETUPMAPPING', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7, SETUPMAPPING)
  const mapping = defer(ring)
  submit(ring, 2, 9)
  const other = defer(ring)
  submit(ring, 4, 11)
  expect(ring.control.requestStop(1)).toBe(false)
  // The other one is answered, and no new one is taken.
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.takeUsed()).toEqual({ id: 2, length: HEADER })
  expect(complete(ring, other, 0)).toBe(-ENOENT)
  expect(ring.worker.next(1)).toBe(TIMED_OUT)
  expect(ring.control.requestStop(1)).toBe(false)
  expect(complete(ring, mapping, 0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, 0, 7])
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.control.requestStop(1)).toBe(true)
  expect(ring.control.finishStop(1)).toBe(2)
})

test('a queue without them is stopped at once, as ever', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  complete(ring, defer(ring), 0)
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.control.requestStop(1)).toBe(true)
  ring.control.finishStop(1)
})

test('a new memory table does not lose them', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  const deferred = defer(ring)
  ring.control.setMemoryTable(BigUint64Array.of(0n, BigInt(MEMORY_BYTES), 0x7000_0000_0000n, 0n), [ring.memfd])
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(complete(ring, deferred, 0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(header(ring, 0)).toEqual([HEADER, 0, 7])
})

test('a ring that breaks takes them along', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  const deferred = defer(ring)
  ring.setAvailableIndex(ring.available + 1000)
  expect(ring.worker.next(0)).toBe(TIMED_OUT)
  expect(ring.control.brokenReason(1)).toBeTruthy()
  expect(complete(ring, deferred, 0)).toBe(-ENOENT)
})

test('what has no room for a reply, and what is no request, is not set aside', () => {
  const ring = new RingDriver()
  expect(ring.worker.defer()).toBe(-EINVAL)
  ring.submitSimple(RingDriver.request(48, 2, 1), 0)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.defer()).toBe(-EINVAL)
  expect(ring.worker.noReply()).toBe(0)
})

test('a worker that is closed leaves none behind', () => {
  const ring = new RingDriver()
  submit(ring, 0, 7)
  defer(ring)
  ring.worker.close()
  expect(header(ring, 0)).toEqual([HEADER, -EAGAIN, 7])
})
