// SPDX-License-Identifier: Apache-2.0
/**
 * VIRTIO shared memory region 0 (the DAX window) as QEMU 11.1 keeps it: every SHMEM_MAP is a region of its own, which
 * may neither overlap another nor reach beyond the end of its file; SHMEM_UNMAP must name exactly one. The reply
 * goes out before the memory table changes, and a table of more than eight regions is never sent.
 */
import { closeSync, fstatSync } from 'node:fs'
import { testing } from '../../../native/testing/index.ts'
import { type MemoryRegion, USER_ADDRESS_BASE } from './guest-memory.ts'
import type { Message } from './message-socket.ts'
import { BackendRequest } from './vhost-user.ts'
import { Unpacker } from './wire.ts'

/** Guest physical address of the window, far above any guest RAM. */
export const WINDOW_GPA = 0x80_0000_0000

interface Mapping {
  readonly offset: number
  readonly length: number
  readonly fd: number
  readonly fdOffset: number
  readonly writable: boolean
  readonly memory: ArrayBuffer
}

/** How the frontend treats requests. */
export interface WindowRules {
  /** QEMU refuses a mapping that ends beyond its file; frontends which only mmap don't. */
  readonly refuseBeyondEnd: boolean
  /** Anything to refuse of one's own, as lack of resources; called with the offset and length of a SHMEM_MAP. */
  readonly refuse?: (offset: number, length: number) => boolean
}

/** The guest's view of the window. */
export class SharedMemoryWindow {
  readonly sizeBytes: number
  readonly log: { request: 'map' | 'unmap'; offset: number; length: number; accepted: boolean; reason: string }[] = []
  rules: WindowRules
  readonly #mappings: Mapping[] = []

  constructor(sizeBytes: number, rules: WindowRules = { refuseBeyondEnd: true }) {
    this.sizeBytes = sizeBytes
    this.rules = rules
  }

  /** Live mappings. */
  get count(): number {
    return this.#mappings.length
  }

  /** What belongs into the memory table. */
  get regions(): MemoryRegion[] {
    return this.#mappings.map((mapping) => ({
      gpa: WINDOW_GPA + mapping.offset,
      sizeBytes: mapping.length,
      userAddress: USER_ADDRESS_BASE + WINDOW_GPA + mapping.offset,
      fd: mapping.fd,
      fdOffset: mapping.fdOffset,
    }))
  }

  /** Carries a backend request out; @returns whether it was accepted. Takes the message's descriptors. */
  handle(message: Message): boolean {
    const body = new Unpacker(message.payload)
    const shmid = body.u16() & 0xff
    body.take(6)
    const fdOffset = body.number()
    const offset = body.number()
    const length = body.number()
    const writable = (body.u64() & 1n) !== 0n
    const request = message.request === BackendRequest.SHMEM_MAP ? 'map' : 'unmap'
    let reason = ''
    if (message.payload.length !== 40 || shmid !== 0 || length === 0 || offset + length > this.sizeBytes) {
      reason = 'bad region or range'
    } else if (request === 'map') {
      reason = this.#map(message.fds.shift(), fdOffset, offset, length, writable)
    } else {
      reason = this.#unmap(offset, length)
    }
    for (const fd of message.fds) {
      closeSync(fd)
    }
    this.log.push({ request, offset, length, accepted: reason === '', reason })
    return reason === ''
  }

  #map(fd: number | undefined, fdOffset: number, offset: number, length: number, writable: boolean): string {
    if (fd === undefined) {
      return 'no file descriptor'
    }
    let reason = ''
    if (this.#mappings.some((other) => offset < other.offset + other.length && other.offset < offset + length)) {
      reason = 'overlap'
    } else if (this.rules.refuseBeyondEnd && fdOffset + length > fstatSync(fd).size) {
      reason = 'beyond the end of the file'
    } else if (this.rules.refuse?.(offset, length) === true) {
      reason = 'refused by the test'
    } else {
      try {
        const memory = testing.map(fd, fdOffset, length, writable)
        this.#mappings.push({ offset, length, fd, fdOffset, writable, memory })
        return ''
      } catch (error) {
        reason = String(error)
      }
    }
    closeSync(fd)
    return reason
  }

  #unmap(offset: number, length: number): string {
    const at = this.#mappings.findIndex((mapping) => mapping.offset === offset && mapping.length === length)
    if (at < 0) {
      return 'not one mapping'
    }
    for (const mapping of this.#mappings.splice(at, 1)) {
      this.#drop(mapping)
    }
    return ''
  }

  #drop(mapping: Mapping): void {
    testing.unmap(mapping.memory)
    closeSync(mapping.fd)
  }

  /** What a device reset does. */
  reset(): void {
    for (const mapping of this.#mappings.splice(0)) {
      this.#drop(mapping)
    }
  }

  /**
   * What the guest reads at an offset of the window; it must lie in one SHMEM mapping.
   * @returns as many bytes as could be read; undefined where the first one faults or nothing is mapped there
   */
  read(offset: number, length: number): Uint8Array | undefined {
    const mapping = this.#mappingAt(offset, length)
    const bytes = new Uint8Array(length)
    const result = mapping === undefined ? -1 : testing.guardedRead(mapping.memory, offset - mapping.offset, bytes)
    return result < 0 ? undefined : bytes.subarray(0, result)
  }

  /** What the guest writes. @returns bytes written, 0 where it faults */
  write(offset: number, bytes: Uint8Array): number {
    const mapping = this.#mappingAt(offset, bytes.length)
    const result = mapping === undefined ? -1 : testing.guardedWrite(mapping.memory, offset - mapping.offset, bytes)
    return Math.max(result, 0)
  }

  #mappingAt(offset: number, length: number): Mapping | undefined {
    return this.#mappings.find((m) => offset >= m.offset && offset + length <= m.offset + m.length)
  }
}
