// SPDX-License-Identifier: Apache-2.0
/**
 * Memory tables that change while queues are in use: a ring is never looked for in memory that has been unmapped. Each
 * table here has a region of another size, so that the device has to map it anew.
 */
import { closeSync, ftruncateSync } from 'node:fs'
import { once } from 'node:events'
import { constants } from 'node:os'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { addonPath, DeviceControl, drainEventFd } from '../index.ts'
import { testing } from '../testing/index.ts'
import { BUFFERS, MEMORY_BYTES, RingDriver } from './ring-driver.ts'

const USER_BASE = 0x7000_0000_0000n
const GETATTR = 3
const SETLKW = 33
const HEADER = 16
const PAGE = 4096

/** Gives the device its memory as a region that it has not had before. */
function replaceTable(control: DeviceControl, memfd: number, pages: number): void {
  ftruncateSync(memfd, MEMORY_BYTES + pages * PAGE)
  control.setMemoryTable(BigUint64Array.of(0n, BigInt(MEMORY_BYTES + pages * PAGE), USER_BASE, 0n), [memfd])
}

/** A request in slots `slot` and `slot + 1` of the driver's ring, with its reply in the page behind. */
function submit(ring: RingDriver, slot: number, opcode: number): void {
  const address = BUFFERS + slot * 0x1000
  ring.bytes.set(RingDriver.request(88, opcode, slot), address)
  ring.chain(
    [slot, slot + 1],
    [
      { address, length: 88, writable: false },
      { address: address + 0x800, length: HEADER, writable: true },
    ],
  )
  ring.publish(slot)
}

/** Lets the thread's other queue, 0, have a turn: it finds the request that was published last. */
function serveOtherQueue(ring: RingDriver): void {
  ring.start(ring.available - 1, 0, 0xc000)
  ring.control.setVringCall(0, -1)
  expect(ring.worker.next(0)).toBe(0)
  expect(ring.worker.noReply()).toBe(0)
}

test('a request that was set aside is completed, though another queue has come to a newer table', () => {
  const ring = new RingDriver()
  const before = ring.control.counters().guardedFaults
  submit(ring, 0, SETLKW)
  expect(ring.worker.next(0)).toBe(1)
  const deferred = ring.worker.defer()
  replaceTable(ring.control, ring.memfd, 1)
  submit(ring, 2, GETATTR)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.replyError(0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 2, length: HEADER })
  replaceTable(ring.control, ring.memfd, 2)
  serveOtherQueue(ring)
  expect(ring.worker.resume(deferred)).toBe(0)
  expect(ring.worker.replyError(0)).toBe(0)
  expect(ring.takeUsed()).toEqual({ id: 0, length: HEADER })
  expect(ring.control.brokenReason(1)).toBeUndefined()
  expect(ring.control.counters().guardedFaults).toBe(before)
})

test('a completion is signalled, though another queue has come to a newer table', () => {
  const ring = new RingDriver()
  submit(ring, 0, GETATTR)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.worker.replyError(0)).toBe(0)
  replaceTable(ring.control, ring.memfd, 1)
  drainEventFd(ring.call)
  serveOtherQueue(ring)
  expect(ring.control.requestStop(1)).toBe(false)
  expect(ring.worker.next(0)).toBe(-2)
  expect(drainEventFd(ring.call)).toBeGreaterThan(0)
  ring.control.finishStop(1)
})

test('a request that was set aside ends with its ring, where the new table does not hold it', () => {
  const ring = new RingDriver()
  submit(ring, 0, SETLKW)
  expect(ring.worker.next(0)).toBe(1)
  const deferred = ring.worker.defer()
  ring.control.setMemoryTable(BigUint64Array.of(0n, 4096n, USER_BASE, 0n), [ring.memfd])
  expect(ring.worker.resume(deferred)).toBe(-constants.errno.ENOENT)
  expect(ring.control.brokenReason(1)).toMatch(/outside of the memory table/)
  expect(ring.worker.next(0)).toBe(-2)
})

/** A queue thread that sets every third request aside until two more have come, or none does for a while. */
const SERVE = `
  const { workerData, parentPort } = require('node:worker_threads')
  const addon = { exports: {} }
  process.dlopen(addon, workerData.addonPath)
  const worker = new addon.exports.QueueWorker(workerData.device, workerData.worker, -1)
  parentPort.postMessage('ready')
  const aside = []
  for (let served = 0; ; ) {
    const queue = worker.next(aside.length > 0 ? 1 : -1)
    if (queue === -1) break
    if (queue >= 0) {
      const deferred = ++served % 3 === 0 ? worker.defer() : -1
      if (deferred >= 0) aside.push(deferred)
      else worker.replyError(0)
    }
    while (aside.length > (queue === -2 ? 0 : 2)) if (worker.resume(aside.shift()) === 0) worker.replyError(0)
  }
  worker.close()`

const QUEUES = 4
/** Queues 0 and 1 have one thread. */
const THREADS = QUEUES - 1
const SIZE = 16
const SWAPS = 2000
/** Of each queue, in guest memory: descriptor table, rings, one page for each request and its reply. */
const AREA = 0x100000
const [AVAILABLE, USED, PAGES] = [0x1000, 0x2000, 0x3000]

/** The driver's side of one of the queues: every slot is under way again as soon as it has come back. */
class Ring {
  readonly base: number
  readonly view: DataView
  readonly kick = testing.eventfd()
  completed = 0
  submitted = 0
  readonly wrong: string[] = []

  constructor(view: DataView, queue: number) {
    this.view = view
    this.base = 0x10000 + queue * AREA
    for (let slot = 0; slot < SIZE; slot += 2) {
      const page = this.base + PAGES + slot * PAGE
      this.#descriptor(slot, page, 40, 1, slot + 1)
      this.#descriptor(slot + 1, page + 0x800, HEADER, 2, 0)
    }
  }

  #descriptor(index: number, address: number, length: number, flags: number, next: number): void {
    const at = this.base + 16 * index
    this.view.setBigUint64(at, BigInt(address), true)
    this.view.setUint32(at + 8, length, true)
    this.view.setUint16(at + 12, flags, true)
    this.view.setUint16(at + 14, next, true)
  }

  submit(slot: number): void {
    const page = this.base + PAGES + slot * PAGE
    this.view.setUint32(page, 40, true)
    this.view.setUint32(page + 4, GETATTR, true)
    this.view.setBigUint64(page + 8, BigInt(++this.submitted), true)
    this.view.setBigUint64(page + 0x808, 0n, true)
    this.view.setUint16(this.base + AVAILABLE + 4 + 2 * ((this.submitted - 1) % SIZE), slot, true)
    this.view.setUint16(this.base + AVAILABLE + 2, this.submitted & 0xffff, true)
    testing.eventfdWrite(this.kick)
  }

  /** Takes what has come back. @returns its slots */
  collect(): number[] {
    const slots: number[] = []
    while (this.view.getUint16(this.base + USED + 2, true) !== (this.completed & 0xffff)) {
      const at = this.base + USED + 4 + 8 * (this.completed++ % SIZE)
      const slot = this.view.getUint32(at, true)
      const page = this.base + PAGES + slot * PAGE
      const unique = this.view.getBigUint64(page + 8, true)
      if (this.view.getUint32(at + 4, true) !== HEADER || this.view.getBigUint64(page + 0x808, true) !== unique)
        this.wrong.push(`slot ${slot}, request ${unique}`)
      slots.push(slot)
    }
    return slots
  }
}

test(`four queues under load go on through ${SWAPS} changes of the memory table`, async () => {
  const memfd = testing.memfdCreate('guest', MEMORY_BYTES)
  const memory = testing.map(memfd, 0, MEMORY_BYTES, true)
  const view = new DataView(memory)
  const control = new DeviceControl(QUEUES)
  const rings = Array.from({ length: QUEUES }, (_, queue) => new Ring(view, queue))
  onTestFinished(() => {
    control.destroy()
    testing.unmap(memory)
    closeSync(memfd)
    for (const { kick } of rings) closeSync(kick)
  })
  control.setFeatures(false, true, true)
  replaceTable(control, memfd, 0)
  const before = control.counters().guardedFaults
  const threads = Array.from({ length: THREADS }, (_, worker) => {
    return new Worker(SERVE, { eval: true, workerData: { addonPath: addonPath(), device: control.id, worker } })
  })
  await Promise.all(threads.map((thread) => once(thread, 'message')))
  for (const [queue, ring] of rings.entries()) {
    const addresses = [0, AVAILABLE, USED].map((offset) => USER_BASE + BigInt(ring.base + offset))
    control.setVringSize(queue, SIZE)
    control.setVringAddresses(queue, BigUint64Array.of(...addresses))
    control.setVringBase(queue, 0)
    control.setVringKick(queue, testing.duplicateFd(ring.kick))
    for (let slot = 0; slot < SIZE; slot += 2) ring.submit(slot)
  }
  for (let swap = 0; swap < SWAPS; swap++) {
    // Each queue gets on between two changes, so that all of them see many.
    const goals = rings.map(({ completed }) => completed + 1)
    replaceTable(control, memfd, 1 + (swap % 7))
    while (rings.some(({ completed }, queue) => completed < (goals[queue] ?? 0))) {
      for (const [queue, ring] of rings.entries()) {
        for (const slot of ring.collect()) ring.submit(slot)
        expect(control.brokenReason(queue)).toBeUndefined()
      }
    }
  }
  while (rings.some(({ completed, submitted }) => completed < submitted)) for (const ring of rings) ring.collect()
  expect(rings.flatMap(({ wrong }) => wrong)).toEqual([])
  expect(control.counters().guardedFaults).toBe(before)
  control.destroy()
  await Promise.all(threads.map((thread) => once(thread, 'exit')))
})
