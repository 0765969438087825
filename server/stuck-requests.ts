// SPDX-License-Identifier: Apache-2.0
/**
 * Names requests that hold up their queue thread, because the host's file system does not answer: once when one has been
 * at it for ten seconds, and once when it has ended. The main thread looks, since the queue's own can't.
 */
import type { RequestInProgress } from '../native/index.ts'
import { opcodeName } from './fuse/abi.ts'
import type { Logger } from './log.ts'

/** How often to look, in milliseconds. */
export const WATCH_MS = 1000
const STUCK_MS = 10_000

interface Stuck {
  readonly number: number
  /** What both lines say. */
  readonly request: {
    readonly worker: number
    readonly opcode: string
    readonly nodeid: number
    readonly since: string
  }
  readonly began: number
}

export class StuckRequests {
  readonly #log: Pick<Logger, 'warn'>
  readonly #now: () => number
  /** By worker. */
  readonly #stuck = new Map<number, Stuck>()

  /** @param now milliseconds since the epoch */
  constructor(log: Pick<Logger, 'warn'>, now = (): number => Date.now()) {
    this.#log = log
    this.#now = now
  }

  /** @param requests all that queue threads are at work on */
  look(requests: readonly RequestInProgress[]): void {
    for (const [worker, { number, request, began }] of this.#stuck) {
      if (requests.some((each) => each.worker === worker && each.number === number)) continue
      this.#stuck.delete(worker)
      const seconds = Math.round((this.#now() - began) / 1000)
      this.#log.warn({ ...request, seconds }, 'a request that was stuck has ended')
    }
    for (const { worker, number, opcode, nodeid, milliseconds } of requests) {
      if (milliseconds < STUCK_MS || this.#stuck.has(worker)) continue
      const began = this.#now() - milliseconds
      const request = { worker, opcode: opcodeName(opcode), nodeid, since: new Date(began).toISOString() }
      this.#stuck.set(worker, { number, request, began })
      this.#log.warn(request, 'a request is stuck: the host has not answered for 10 s')
    }
  }
}
