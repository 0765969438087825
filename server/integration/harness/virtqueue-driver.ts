// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's side of a split virtqueue (virtio 1.3, section 2.7), and raw access to its rings for tests that lie.
 *
 *   gpa.descriptors  16 * size: { le64 addr, le32 len, le16 flags, le16 next }
 *   gpa.available    { le16 flags, le16 idx, le16 ring[size], le16 used_event }
 *   gpa.used         { le16 flags, le16 idx, { le32 id, le32 len } ring[size], le16 avail_event }
 */
import { closeSync } from 'node:fs'
import { testing } from '../../../native/testing/index.ts'
import type { GuestMemory, Segment } from './guest-memory.ts'

/** Descriptor flags. */
export const DescriptorFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const

/** What the driver negotiated. */
export interface QueueFeatures {
  readonly eventIdx: boolean
  readonly indirect: boolean
}

/** A finished chain. */
export interface UsedElement {
  readonly head: number
  readonly length: number
}

interface FlaggedSegment extends Segment {
  readonly flags: number
}

interface Chain {
  readonly descriptors: number[]
  readonly table: Segment | undefined
}

/** One queue. Its eventfds belong to it; the rings lie in guest memory. */
export class VirtqueueDriver {
  readonly index: number
  readonly size: number
  readonly features: QueueFeatures
  readonly kickFd = testing.eventfd()
  readonly callFd = testing.eventfd()
  readonly errorFd = testing.eventfd()
  readonly gpa: { readonly descriptors: number; readonly available: number; readonly used: number }
  /** Signals that `reap` took. */
  calls = 0
  /** Times that `publish` found no reason to kick. */
  kicksSaved = 0
  #availableIndex = 0
  #lastUsed = 0
  readonly #memory: GuestMemory
  readonly #freeDescriptors: number[] = []
  readonly #chains = new Map<number, Chain>()

  constructor(memory: GuestMemory, index: number, size: number, features: QueueFeatures) {
    this.#memory = memory
    this.index = index
    this.size = size
    this.features = features
    this.gpa = {
      descriptors: memory.allocate(16 * size),
      available: memory.allocate(6 + 2 * size),
      used: memory.allocate(6 + 8 * size),
    }
    this.reset()
  }

  /** Entries in flight. */
  get inFlight(): number {
    return this.#chains.size
  }

  /** What GET_VRING_BASE must return once everything is done. */
  get availableIndex(): number {
    return this.#availableIndex
  }

  /** Empties the rings, as a driver does that initializes the device again. */
  reset(): void {
    this.#memory.bytes(this.gpa.descriptors, 16 * this.size).fill(0)
    this.#memory.bytes(this.gpa.available, 6 + 2 * this.size).fill(0)
    this.#memory.bytes(this.gpa.used, 6 + 8 * this.size).fill(0)
    this.#availableIndex = 0
    this.#lastUsed = 0
    this.#chains.clear()
    this.#freeDescriptors.length = 0
    for (let i = this.size - 1; i >= 0; i--) {
      this.#freeDescriptors.push(i)
    }
    testing.eventfdRead(this.callFd)
    testing.eventfdRead(this.kickFd)
    testing.eventfdRead(this.errorFd)
  }

  /** Makes a chain available without telling the device; returns its head. */
  add(readable: readonly Segment[], writable: readonly Segment[]): number {
    const segments = [
      ...readable.map((segment) => ({ ...segment, flags: 0 })),
      ...writable.map((segment) => ({ ...segment, flags: DescriptorFlag.WRITE })),
    ]
    const head = this.features.indirect && segments.length > 1 ? this.#addIndirect(segments) : this.#addDirect(segments)
    this.publish(head)
    return head
  }

  #addDirect(segments: readonly FlaggedSegment[]): number {
    if (segments.length > this.#freeDescriptors.length) {
      throw new RangeError(`queue ${this.index} is full`)
    }
    const head = this.#takeDescriptor()
    const descriptors = [head]
    segments.forEach((segment, i) => {
      const last = i === segments.length - 1
      const index = descriptors.at(-1) ?? head
      const next = last ? 0 : this.#takeDescriptor()
      if (!last) {
        descriptors.push(next)
      }
      this.writeDescriptor(
        index,
        BigInt(segment.gpa),
        segment.length,
        segment.flags | (last ? 0 : DescriptorFlag.NEXT),
        next,
      )
    })
    this.#chains.set(head, { descriptors, table: undefined })
    return head
  }

  #addIndirect(segments: readonly FlaggedSegment[]): number {
    const length = 16 * segments.length
    const table = { gpa: this.#memory.allocate(length), length }
    segments.forEach((segment, i) => {
      const last = i === segments.length - 1
      const flags = segment.flags | (last ? 0 : DescriptorFlag.NEXT)
      this.writeDescriptorAt(table.gpa + 16 * i, BigInt(segment.gpa), segment.length, flags, last ? 0 : i + 1)
    })
    const head = this.#takeDescriptor()
    this.writeDescriptor(head, BigInt(table.gpa), length, DescriptorFlag.INDIRECT, 0)
    this.#chains.set(head, { descriptors: [head], table })
    return head
  }

  #takeDescriptor(): number {
    const descriptor = this.#freeDescriptors.pop()
    if (descriptor === undefined) {
      throw new RangeError(`queue ${this.index} is full`)
    }
    return descriptor
  }

  /** Writes one entry of the descriptor table. */
  writeDescriptor(index: number, address: bigint, length: number, flags: number, next: number): void {
    this.writeDescriptorAt(this.gpa.descriptors + 16 * index, address, length, flags, next)
  }

  /** Writes a descriptor anywhere, as into an indirect table. */
  writeDescriptorAt(gpa: number, address: bigint, length: number, flags: number, next: number): void {
    const view = this.#memory.view(gpa, 16)
    view.setBigUint64(0, BigInt.asUintN(64, address), true)
    view.setUint32(8, length, true)
    view.setUint16(12, flags, true)
    view.setUint16(14, next, true)
  }

  /** Puts a head into the available ring. */
  publish(head: number): void {
    this.#memory
      .view(this.gpa.available, 6 + 2 * this.size)
      .setUint16(4 + 2 * (this.#availableIndex % this.size), head, true)
    this.setAvailableIndex(this.#availableIndex + 1)
  }

  /** Makes available a chain that the test wrote itself from descriptor `head` on. */
  addWritten(head: number): void {
    const at = this.#freeDescriptors.indexOf(head)
    if (at >= 0) {
      this.#freeDescriptors.splice(at, 1)
    }
    this.#chains.set(head, { descriptors: at >= 0 ? [head] : [], table: undefined })
    this.publish(head)
  }

  /** Sets avail.idx, which `publish` counts on from. */
  setAvailableIndex(index: number): void {
    this.#availableIndex = index & 0xffff
    // Sequentially consistent: the device's avail_event must not be read before the index is out.
    Atomics.store(this.#u16(this.gpa.available + 2), 0, this.#availableIndex)
  }

  /** Tells the device, unless it asked not to be told (`always` ignores that). */
  kick(previousIndex: number, always = false): boolean {
    let wanted: boolean
    if (this.features.eventIdx) {
      const event = Atomics.load(this.#u16(this.gpa.used + 4 + 8 * this.size), 0)
      const now = this.#availableIndex
      wanted = ((now - event - 1) & 0xffff) < ((now - previousIndex) & 0xffff)
    } else {
      wanted = (Atomics.load(this.#u16(this.gpa.used), 0) & 1) === 0
    }
    if (!wanted && !always) {
      this.kicksSaved++
      return false
    }
    testing.eventfdWrite(this.kickFd)
    return true
  }

  /** Takes what is in the used ring, if the device signalled it, and asks for the next signal. */
  reap(): UsedElement[] {
    if (testing.eventfdRead(this.callFd) < 0) {
      return []
    }
    this.calls++
    const done: UsedElement[] = []
    do {
      for (;;) {
        const element = this.#takeUsed()
        if (element === undefined) {
          break
        }
        done.push(element)
      }
      if (!this.features.eventIdx) {
        break
      }
      Atomics.store(this.#u16(this.gpa.available + 4 + 2 * this.size), 0, this.#lastUsed)
      // The device may have finished another before it could see that.
    } while (this.usedIndex() !== this.#lastUsed)
    return done
  }

  /** used.idx as the device wrote it. */
  usedIndex(): number {
    return Atomics.load(this.#u16(this.gpa.used + 2), 0)
  }

  #takeUsed(): UsedElement | undefined {
    if (this.usedIndex() === this.#lastUsed) {
      return undefined
    }
    const view = this.#memory.view(this.gpa.used + 4 + 8 * (this.#lastUsed % this.size), 8)
    const element = { head: view.getUint32(0, true), length: view.getUint32(4, true) }
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff
    const chain = this.#chains.get(element.head)
    if (chain === undefined) {
      throw new Error(`queue ${this.index}: the device returned head ${element.head}, which it did not have`)
    }
    this.#chains.delete(element.head)
    this.#freeDescriptors.push(...chain.descriptors)
    if (chain.table !== undefined) {
      this.#memory.release(chain.table.gpa, chain.table.length)
    }
    return element
  }

  #u16(gpa: number): Uint16Array {
    const bytes = this.#memory.bytes(gpa, 2)
    return new Uint16Array(bytes.buffer, bytes.byteOffset, 1)
  }

  close(): void {
    closeSync(this.kickFd)
    closeSync(this.callFd)
    closeSync(this.errorFd)
  }
}
