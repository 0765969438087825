// SPDX-License-Identifier: Apache-2.0
/**
 * Counters of one queue's FUSE server; the data plane has its own (native/session/counters.h). Each thread writes its own buffer; anybody may read and add them up.
 */
import type { DataPlaneCounters } from '../../native/index.ts'
import { opcodeName } from './abi.ts'

/** Requests by opcode take the first slots; opcodes from 64 on share the last of them. */
const OPCODES = 64

const ERRORS = OPCODES
const LENGTH = OPCODES + 1

export interface FuseCounts extends Omit<DataPlaneCounters, 'requests'> {
  /** Requests by the opcode's name, without those that never came. */
  requests: Record<string, number>
  requestsTotal: number
}

/** Of a data plane that has served nothing. */
export const NOTHING_SERVED: DataPlaneCounters = {
  requests: [],
  errors: 0,
  bytesRead: 0,
  bytesWritten: 0,
  mappingsSetUp: 0,
  mappingsSetUpWritable: 0,
  mappingsRefused: 0,
  mappingsRemoved: 0,
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
    this.#add(ERRORS, 1)
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
    return { ...dataPlane, requests, requestsTotal, errors: (total[ERRORS] ?? 0) + dataPlane.errors }
  }
}
