// SPDX-License-Identifier: Apache-2.0
/**
 * A driver for one split ring in a memfd, and the device that serves it, in one process: for tests of the ring itself.
 *
 * Guest-physical layout (bytes): 0x1000 descriptor table, 0x8000 available ring, 0xa000 used ring, 0x10000 buffers.
 */
import { closeSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import { DeviceControl, QueueWorker } from '../index.ts'
import { testing } from '../testing/index.ts'

export const MEMORY_BYTES = 4 << 20
/** Where guest-physical 0 lies for the frontend. */
const USER_BASE = 0x7000_0000_0000n
const DESCRIPTORS = 0x1000
export const AVAILABLE = 0x8000
const USED = 0xa000
export const BUFFERS = 0x10000

export const NEXT = 1
export const WRITE = 2
export const INDIRECT = 4

export interface Buffer {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

export interface RingOptions {
  readonly size?: number
  readonly eventIdx?: boolean
  readonly indirect?: boolean
  /** Where both indexes start. */
  readonly base?: number
  /** A shared directory for the data plane. */
  readonly directory?: number
  readonly poolThreads?: number
}

/** One queue (index 1) of a device with two, both sides of it. */
export class RingDriver {
  readonly memfd: number
  readonly view: DataView
  readonly bytes: Uint8Array
  readonly control: DeviceControl
  readonly worker: QueueWorker
  readonly call = testing.eventfd()
  readonly err = testing.eventfd()
  readonly kick = testing.eventfd()
  readonly size: number
  readonly eventIdx: boolean
  available: number
  usedSeen: number

  constructor(options: RingOptions = {}) {
    this.control = new DeviceControl(2, options.poolThreads ?? 0)
    this.size = options.size ?? 8
    this.eventIdx = options.eventIdx ?? false
    this.available = options.base ?? 0
    this.usedSeen = this.available
    this.memfd = testing.memfdCreate('ring', MEMORY_BYTES)
    const memory = testing.map(this.memfd, 0, MEMORY_BYTES, true)
    this.view = new DataView(memory)
    this.bytes = new Uint8Array(memory)
    this.view.setUint16(AVAILABLE + 2, this.available, true)
    this.view.setUint16(USED + 2, this.available, true)
    this.control.setFeatures(this.eventIdx, options.indirect ?? true, true)
    this.control.setMemoryTable(BigUint64Array.of(0n, BigInt(MEMORY_BYTES), USER_BASE, 0n), [this.memfd])
    this.worker = new QueueWorker(this.control.id, 0, options.directory ?? -1)
    this.start(this.available)
    onTestFinished(() => {
      this.worker.close()
      this.control.destroy()
      testing.unmap(memory)
      closeSync(this.memfd)
      for (const fd of [this.call, this.err, this.kick]) closeSync(fd)
    })
  }

  /** Sets up and starts the ring, as a frontend does; or another queue that is fed by the same available ring. */
  start(base: number, queue = 1, used = USED): void {
    this.control.setVringSize(queue, this.size)
    this.control.setVringAddresses(
      queue,
      BigUint64Array.of(...[DESCRIPTORS, AVAILABLE, used].map((offset) => USER_BASE + BigInt(offset))),
    )
    this.control.setVringBase(queue, base)
    this.control.setVringCall(queue, testing.duplicateFd(this.call))
    this.control.setVringError(queue, testing.duplicateFd(this.err))
    this.control.setVringKick(queue, testing.duplicateFd(this.kick))
  }

  descriptor(index: number, address: number, length: number, flags: number, next: number, table = DESCRIPTORS): void {
    const at = table + 16 * index
    this.view.setBigUint64(at, BigInt(address), true)
    this.view.setUint32(at + 8, length, true)
    this.view.setUint16(at + 12, flags, true)
    this.view.setUint16(at + 14, next, true)
  }

  /** Writes a chain into table slots, in the order given; the first is its head. */
  chain(slots: readonly number[], buffers: readonly Buffer[], table = DESCRIPTORS): void {
    for (const [i, buffer] of buffers.entries()) {
      const last = i === buffers.length - 1
      const flags = (buffer.writable ? WRITE : 0) | (last ? 0 : NEXT)
      this.descriptor(slots[i] ?? 0, buffer.address, buffer.length, flags, slots[i + 1] ?? 0, table)
    }
  }

  /** Makes a head available. */
  publish(head: number): void {
    this.view.setUint16(AVAILABLE + 4 + 2 * (this.available % this.size), head, true)
    this.available = (this.available + 1) & 0xffff
    this.setAvailableIndex(this.available)
    testing.eventfdWrite(this.kick)
  }

  setAvailableIndex(index: number): void {
    this.view.setUint16(AVAILABLE + 2, index, true)
  }

  /** With event_idx: ask for an interrupt when the used index passes this one. */
  setUsedEvent(index: number): void {
    this.view.setUint16(AVAILABLE + 4 + 2 * this.size, index, true)
  }

  get availableEvent(): number {
    return this.view.getUint16(USED + 4 + 8 * this.size, true)
  }

  get usedIndex(): number {
    return this.view.getUint16(USED + 2, true)
  }

  /** The next element of the used ring, or nothing. */
  takeUsed(): { id: number; length: number } | undefined {
    if (this.usedIndex === this.usedSeen) return undefined
    const at = USED + 4 + 8 * (this.usedSeen % this.size)
    this.usedSeen = (this.usedSeen + 1) & 0xffff
    return { id: this.view.getUint32(at, true), length: this.view.getUint32(at + 4, true) }
  }

  /** A request of `length` bytes: struct fuse_in_header, then a pattern. */
  static request(length: number, opcode: number, unique: number): Uint8Array {
    const request = new Uint8Array(length)
    for (let i = 40; i < length; i++) request[i] = (i * 7 + unique) & 0xff
    const view = new DataView(request.buffer)
    view.setUint32(0, length, true)
    view.setUint32(4, opcode, true)
    view.setBigUint64(8, BigInt(unique), true)
    return request
  }

  /** A chain in slots 0 and 1 with one readable and one writable buffer, made available. */
  submitSimple(request: Uint8Array, replyBytes: number, replyAddress = BUFFERS + 0x10000): void {
    this.bytes.set(request, BUFFERS)
    const buffers: Buffer[] = [{ address: BUFFERS, length: request.length, writable: false }]
    if (replyBytes > 0) buffers.push({ address: replyAddress, length: replyBytes, writable: true })
    this.chain([0, 1], buffers)
    this.publish(0)
  }
}
