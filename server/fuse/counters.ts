// SPDX-License-Identifier: Apache-2.0
/**
 * Counters of one queue's FUSE server; the data plane has its own (native/session/counters.h). Each thread writes its own buffer; anybody may read and add them up.
 */
import type { DataPlaneCounters } from '../../native/index.ts'
import { opcodeName } from './abi.ts'

/** Requests by opcode take the first slots; opcodes from 64 on share the last of them. */
const OPCODES = 64

const SLOTS = {
  errors: OPCODES,
  mappingsSetUp: OPCODES + 1,
  mappingsSetUpWritable: OPCODES + 2,
  mappingsRefused: OPCODES + 3,
  mappingsRemoved: OPCODES + 4,
} as const
const LENGTH = 80

export interface FuseCounts {
  /** Requests by the opcode's name, without those that never came. */
  requests: Record<string, number>
  requestsTotal: number
  /** Replies with an error, and requests that were refused. */
  errors: number
  /** Bytes that READ moved to the guest. */
  bytesRead: number
  /** Bytes that WRITE took from the guest. */
  bytesWritten: number
  /** Successful SETUPMAPPINGs, upgrades and other replacements included. */
  mappingsSetUp: number
  /** Those of them that allowed writing. */
  mappingsSetUpWritable: number
  /** SETUPMAPPINGs that got an error. */
  mappingsRefused: number
  /** Entries of successful REMOVEMAPPINGs. */
  mappingsRemoved: number
}

export class FuseCounters {
  readonly #slots: Float64Array

  /** @param buffer from `FuseCounters.allocate`, one per thread */
  constructor(buffer: SharedArrayBuffer) {
    this.#slots = new Float64Array(buffer)
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(LENGTH * 8)
  }

  countRequest(opcode: number): void {
    this.#add(opcode < OPCODES ? opcode : OPCODES - 1, 1)
  }

  countError(): void {
    this.#add(SLOTS.errors, 1)
  }

  countMapping(writable: boolean): void {
    this.#add(SLOTS.mappingsSetUp, 1)
    if (writable) this.#add(SLOTS.mappingsSetUpWritable, 1)
  }

  countRefusedMapping(): void {
    this.#add(SLOTS.mappingsRefused, 1)
  }

  countRemovedMappings(entries: number): void {
    this.#add(SLOTS.mappingsRemoved, entries)
  }

  #add(slot: number, amount: number): void {
    this.#slots[slot] = (this.#slots[slot] ?? 0) + amount
  }

  /** The sum of all threads, with what the data plane has served. */
  static sum(buffers: readonly SharedArrayBuffer[], dataPlane: DataPlaneCounters): FuseCounts {
    const total = new Float64Array(LENGTH)
    for (const buffer of buffers) {
      const slots = new Float64Array(buffer)
      for (let slot = 0; slot < LENGTH; slot++) total[slot] = (total[slot] ?? 0) + (slots[slot] ?? 0)
    }
    const requests: Record<string, number> = {}
    let requestsTotal = 0
    for (let opcode = 0; opcode < OPCODES; opcode++) {
      const count = (total[opcode] ?? 0) + (dataPlane.requests[opcode] ?? 0)
      if (count > 0) requests[opcodeName(opcode)] = count
      requestsTotal += count
    }
    const read = (slot: number): number => total[slot] ?? 0
    return {
      requests,
      requestsTotal,
      errors: read(SLOTS.errors) + dataPlane.errors,
      bytesRead: dataPlane.bytesRead,
      bytesWritten: dataPlane.bytesWritten,
      mappingsSetUp: read(SLOTS.mappingsSetUp),
      mappingsSetUpWritable: read(SLOTS.mappingsSetUpWritable),
      mappingsRefused: read(SLOTS.mappingsRefused),
      mappingsRemoved: read(SLOTS.mappingsRemoved),
    }
  }
}
