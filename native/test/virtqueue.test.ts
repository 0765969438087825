// SPDX-License-Identifier: Apache-2.0
/** The split ring against a model driver, honest and hostile. */
import { ftruncateSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { drainEventFd } from '../index.ts'
import { testing } from '../testing/index.ts'
import { BUFFERS, type Buffer, INDIRECT, MEMORY_BYTES, NEXT, RingDriver } from './ring-driver.ts'

const GETATTR = 3
const EFAULT = 14
/** Where indirect tables and random buffers go. */
const TABLES = 0x80000
const DATA = 0x100000

/** The reply's first words. */
function replyHeader(ring: RingDriver, address: number): { length: number; error: number; unique: number } {
  return {
    length: ring.view.getUint32(address, true),
    error: ring.view.getInt32(address + 4, true),
    unique: Number(ring.view.getBigUint64(address + 8, true)),
  }
}

/** Cuts `length` bytes from `address` on into buffers of the given sizes (the last takes the rest). */
function cut(address: number, length: number, sizes: readonly number[], writable: boolean): Buffer[] {
  const buffers: Buffer[] = []
  let done = 0
  for (const size of sizes) {
    if (done + size >= length) break
    buffers.push({ address: address + done, length: size, writable })
    done += size
  }
  buffers.push({ address: address + done, length: length - done, writable })
  return buffers
}

const requestShape = fc.record({
  length: fc.integer({ min: 40, max: 3000 }),
  body: fc.integer({ min: 0, max: 2000 }),
  readableCuts: fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 5 }),
  writableCuts: fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 5 }),
  indirect: fc.boolean(),
})

test.each([
  { eventIdx: false, base: 0 },
  { eventIdx: true, base: 65_530 },
])('serves any chains like the model: $eventIdx, from index $base', ({ eventIdx, base }) => {
  const ring = new RingDriver({ size: 16, eventIdx, base })
  let unique = 1
  fc.assert(
    // Batches, so that several requests are in the ring at once.
    fc.property(fc.array(requestShape, { minLength: 1, maxLength: 4 }), (batch) => {
      const free = Array.from({ length: 16 }, (_, slot) => slot)
      const sent: { head: number; unique: number; request: Uint8Array; body: number; reply: number }[] = []
      for (const [i, shape] of batch.entries()) {
        const request = RingDriver.request(shape.length, GETATTR, unique)
        const at = DATA + i * 0x10000
        const reply = at + 0x8000
        ring.bytes.set(request, at)
        ring.bytes.fill(0, reply, reply + 0x8000)
        const buffers = [
          ...cut(at, shape.length, shape.readableCuts, false),
          ...cut(reply, 16 + shape.body, shape.writableCuts, true),
        ]
        const needed = shape.indirect ? 1 : buffers.length
        if (free.length < needed) continue
        const slots = free.splice(0, needed)
        const head = slots[0] ?? 0
        if (shape.indirect) {
          const table = TABLES + i * 0x1000
          ring.chain(
            buffers.map((_, slot) => slot),
            buffers,
            table,
          )
          ring.descriptor(head, table, 16 * buffers.length, INDIRECT, 0)
        } else {
          ring.chain(slots, buffers)
        }
        ring.publish(head)
        sent.push({ head, unique, request, body: shape.body, reply })
        unique++
      }
      for (const item of sent) {
        expect(ring.worker.next(0)).toBe(1)
        expect(Array.from(ring.worker.state.slice(0, 3))).toEqual([item.request.length, 0, 16 + item.body])
        expect(new Uint8Array(ring.worker.requestBuffer, 0, item.request.length)).toEqual(item.request)
        new Uint8Array(ring.worker.replyBuffer, 16, item.body).fill(item.unique & 0xff)
        expect(ring.worker.reply(item.body)).toBe(0)
        expect(ring.takeUsed()).toEqual({ id: item.head, length: 16 + item.body })
        expect(replyHeader(ring, item.reply)).toEqual({ length: 16 + item.body, error: 0, unique: item.unique })
        const body = ring.bytes.subarray(item.reply + 16, item.reply + 16 + item.body)
        expect(body.every((byte) => byte === (item.unique & 0xff))).toBe(true)
        expect(ring.bytes[item.reply + 16 + item.body]).toBe(0)
      }
      expect(ring.worker.next(0)).toBe(-2)
      expect(ring.takeUsed()).toBeUndefined()
    }),
    { numRuns: 100 },
  )
})

describe('interrupts', () => {
  test('come once for a batch, and not where the driver does not want them', () => {
    const ring = new RingDriver()
    const serve = (count: number): number => {
      for (let i = 0; i < count; i++) {
        ring.submitSimple(RingDriver.request(40, GETATTR, i), 16)
        expect(ring.worker.next(0)).toBe(1)
        ring.worker.replyError(0)
      }
      expect(ring.worker.next(0)).toBe(-2)
      while (ring.takeUsed() !== undefined);
      return drainEventFd(ring.call)
    }
    expect(serve(3)).toBe(1)
    expect(serve(17)).toBe(3)
    ring.view.setUint16(0x8000, 1, true)
    expect(serve(3)).toBe(0)
  })

  test('follow used_event with event_idx, and kicks avail_event', () => {
    const ring = new RingDriver({ eventIdx: true })
    const serveOne = (): number => {
      ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
      expect(ring.worker.next(0)).toBe(1)
      ring.worker.replyError(0)
      expect(ring.worker.next(0)).toBe(-2)
      return drainEventFd(ring.call)
    }
    ring.setUsedEvent(0)
    expect(serveOne()).toBe(1)
    ring.setUsedEvent(2)
    expect(serveOne()).toBe(0)
    expect(serveOne()).toBe(1)
    expect(ring.availableEvent).toBe(3)
  })
})

describe('a ring that lies is stopped, and says so', () => {
  const request = { address: BUFFERS, length: 40, writable: false }
  const cases: [string, RegExp, (ring: RingDriver) => void][] = [
    [
      'a chain that loops',
      /loops/,
      (ring) => {
        ring.descriptor(0, BUFFERS, 40, NEXT, 1)
        ring.descriptor(1, BUFFERS, 40, NEXT, 0)
        ring.publish(0)
      },
    ],
    ['a head out of the table', /head/, (ring) => ring.publish(8)],
    [
      'a next out of the table',
      /next is out/,
      (ring) => {
        ring.descriptor(0, BUFFERS, 40, NEXT, 8)
        ring.publish(0)
      },
    ],
    ['an index that runs ahead', /ahead/, (ring) => ring.setAvailableIndex(9)],
    [
      'a readable descriptor after a writable one',
      /readable/,
      (ring) => {
        ring.chain([0, 1, 2], [request, { ...request, writable: true }, request])
        ring.publish(0)
      },
    ],
    [
      'a readable descriptor after an empty writable one',
      /readable/,
      (ring) => {
        ring.chain([0, 1, 2], [request, { ...request, length: 0, writable: true }, request])
        ring.publish(0)
      },
    ],
    [
      'an indirect table in an indirect table',
      /indirect/,
      (ring) => {
        ring.descriptor(0, TABLES + 0x100, 16, INDIRECT, 0, TABLES)
        ring.descriptor(0, TABLES, 16, INDIRECT, 0)
        ring.publish(0)
      },
    ],
    [
      'an indirect descriptor with a next',
      /indirect/,
      (ring) => {
        ring.descriptor(0, TABLES, 16, INDIRECT | NEXT, 1)
        ring.publish(0)
      },
    ],
    [
      'an indirect table of 15 bytes',
      /wrong length/,
      (ring) => {
        ring.descriptor(0, TABLES, 15, INDIRECT, 0)
        ring.publish(0)
      },
    ],
    [
      'an indirect table outside of memory',
      /outside/,
      (ring) => {
        ring.descriptor(0, MEMORY_BYTES - 16, 32, INDIRECT, 0)
        ring.publish(0)
      },
    ],
    [
      'buffers of 8 GiB',
      /too large/,
      (ring) => {
        ring.descriptor(0, BUFFERS, 0xffff_ffff, NEXT, 1)
        ring.descriptor(1, BUFFERS, 0xffff_ffff, 0, 0)
        ring.publish(0)
      },
    ],
    [
      'a ring whose memory is gone',
      /can't be/,
      (ring) => {
        ring.publish(0)
        ftruncateSync(ring.memfd, 0)
      },
    ],
  ]
  test.each(cases)('%s', (_name, reason, lie) => {
    const ring = new RingDriver({ size: 8 })
    lie(ring)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.control.brokenReason(1)).toMatch(reason)
    expect(ring.control.brokenReason(1)).toBeUndefined()
    expect(drainEventFd(ring.err)).toBe(1)
    // Set up anew it works again, where its memory still exists.
    ftruncateSync(ring.memfd, MEMORY_BYTES)
    expect(ring.control.requestStop(1)).toBe(true)
    ring.control.finishStop(1)
    ring.available = ring.usedIndex
    ring.usedSeen = ring.usedIndex
    ring.setAvailableIndex(ring.available)
    ring.start(ring.available)
    ring.submitSimple(RingDriver.request(40, GETATTR, 5), 16)
    expect(ring.worker.next(0)).toBe(1)
    ring.worker.replyError(2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
  })

  test('no bytes in ring and tables do more than that', () => {
    const ring = new RingDriver({ size: 8 })
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 128, maxLength: 128 }),
        fc.array(fc.nat(9), { minLength: 8, maxLength: 8 }),
        fc.integer({ min: 1, max: 8 }),
        (table, heads, count) => {
          ring.bytes.set(table, 0x1000)
          // Small addresses and lengths, or nothing but "out of memory" is tried.
          for (let i = 0; i < 8; i++) {
            ring.view.setBigUint64(0x1000 + 16 * i, ring.view.getBigUint64(0x1000 + 16 * i, true) & 0x5f_ffffn, true)
            ring.view.setUint32(0x1000 + 16 * i + 8, ring.view.getUint32(0x1000 + 16 * i + 8, true) & 0x3ff, true)
            ring.view.setUint16(0x1000 + 16 * i + 12, ring.view.getUint16(0x1000 + 16 * i + 12, true) & 7, true)
            ring.view.setUint16(0x1000 + 16 * i + 14, ring.view.getUint16(0x1000 + 16 * i + 14, true) % 9, true)
          }
          for (const head of heads.slice(0, count)) ring.publish(head)
          for (;;) {
            const queue = ring.worker.next(0)
            if (queue < 0) break
            ring.worker.reply(0)
          }
          ring.control.brokenReason(1)
          if (!ring.control.requestStop(1)) throw new Error('the queue is in use')
          ring.control.finishStop(1)
          ring.available = ring.usedIndex
          ring.setAvailableIndex(ring.available)
          ring.start(ring.available)
          expect(ring.control.counters().requests).toBeGreaterThanOrEqual(0)
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('buffers that are not there fail their request alone', () => {
  test.each([
    ['outside of the memory table', MEMORY_BYTES + 0x1000],
    ['in memory that was truncated', MEMORY_BYTES - 0x1000],
  ])('a reply buffer %s', (_name, address) => {
    const ring = new RingDriver()
    ftruncateSync(ring.memfd, MEMORY_BYTES - 0x2000)
    const header = { address: BUFFERS + 0x8000, length: 16, writable: true }
    ring.bytes.set(RingDriver.request(40, GETATTR, 9), BUFFERS)
    ring.chain(
      [0, 1, 2],
      [{ address: BUFFERS, length: 40, writable: false }, header, { address, length: 100, writable: true }],
    )
    ring.publish(0)
    expect(ring.worker.next(0)).toBe(1)
    expect(ring.worker.reply(100)).toBe(-EFAULT)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    expect(replyHeader(ring, header.address)).toEqual({ length: 16, error: -EFAULT, unique: 9 })
    ring.submitSimple(RingDriver.request(40, GETATTR, 10), 16)
    expect(ring.worker.next(0)).toBe(1)
    ring.worker.replyError(0)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    expect(ring.control.brokenReason(1)).toBeUndefined()
  })

  test('a request that can not be read is answered without being served', () => {
    const ring = new RingDriver()
    ring.chain(
      [0, 1],
      [
        { address: MEMORY_BYTES, length: 40, writable: false },
        { address: BUFFERS, length: 16, writable: true },
      ],
    )
    ring.publish(0)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    expect(replyHeader(ring, BUFFERS)).toEqual({ length: 16, error: -EFAULT, unique: 0 })
    expect(ring.control.counters().refused).toBe(1)
  })

  test.each([
    ['shorter than its header', 39, 22],
    ['larger than any of Linux', 132 * 1024 + 1, 12],
  ])('a request %s', (_name, length, errno) => {
    const ring = new RingDriver()
    const reply = 0x200000
    ring.submitSimple(RingDriver.request(Math.max(40, length), GETATTR, 3).subarray(0, length), 16, reply)
    expect(ring.worker.next(0)).toBe(-2)
    expect(replyHeader(ring, reply).error).toBe(-errno)
  })
})

test('a request that nobody has answered ends in EIO', () => {
  const ring = new RingDriver()
  ring.submitSimple(RingDriver.request(40, GETATTR, 3), 16)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.next(0)).toBe(-2)
  expect(replyHeader(ring, BUFFERS + 0x10000)).toEqual({ length: 16, error: -5, unique: 3 })
  expect(ring.worker.replyError(1)).toBe(-22)
})

test('stops between requests, and goes on where it stopped', () => {
  const ring = new RingDriver()
  ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.control.requestStop(1)).toBe(false)
  ring.worker.replyError(0)
  ring.submitSimple(RingDriver.request(40, GETATTR, 2), 16)
  expect(ring.worker.next(0)).toBe(-2)
  expect(drainEventFd(ring.control.quiescedFd)).toBeGreaterThan(0)
  expect(ring.control.requestStop(1)).toBe(true)
  expect(ring.control.finishStop(1)).toBe(1)
  ring.start(1)
  expect(ring.worker.next(0)).toBe(1)
  ring.worker.replyError(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
})

test('a disabled ring is not served', () => {
  const ring = new RingDriver()
  ring.control.setVringEnabled(1, false)
  ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  expect(ring.worker.next(0)).toBe(-2)
  ring.control.setVringEnabled(1, true)
  expect(ring.worker.next(0)).toBe(1)
  ring.worker.replyError(0)
})

test('completions go to the newest call descriptor', () => {
  const ring = new RingDriver()
  ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  expect(ring.worker.next(0)).toBe(1)
  const call = testing.eventfd()
  ring.control.setVringCall(1, call)
  ring.worker.replyError(0)
  expect(ring.worker.next(0)).toBe(-2)
  expect(drainEventFd(call)).toBe(1)
  expect(drainEventFd(ring.call)).toBe(0)
})
