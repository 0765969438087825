// SPDX-License-Identifier: Apache-2.0
/**
 * Names requests that are stuck, once when one has been at it for ten seconds, and once when it has ended: those that hold up
 * their queue thread, or a thread of the pool, because the host's file system does not answer, and those that wait for a lock
 * or a lease, set aside.
 */
import type { RequestInProgress } from '../native/index.ts'
import { opcodeName } from './fuse/abi.ts'
import { STUCK_MS, type WaitingRequest } from './fuse/waits.ts'
import type { Logger } from './log.ts'

/** How often to look, in milliseconds. */
export const WATCH_MS = 1000

/** What both lines say. */
interface Description {
  readonly opcode: string
  readonly nodeid: number
  readonly since: string
}

/** @param began milliseconds since the epoch */
function describe({ opcode, nodeid }: Pick<WaitingRequest, 'opcode' | 'nodeid'>, began: number): Description {
  return { opcode: opcodeName(opcode), nodeid, since: new Date(began).toISOString() }
}

function logEnd(log: Pick<Logger, 'warn'>, request: Description, milliseconds: number): void {
  log.warn(
    { event: 'request-ended', ...request, seconds: Math.round(milliseconds / 1000) },
    'a request that was stuck has ended',
  )
}

/** For Waits.onStuck: the queue's thread itself tells of those that are set aside. */
export function logWaiting(
  log: Pick<Logger, 'warn'>,
  request: WaitingRequest,
  waitedMs: number,
  ended: boolean,
  now = Date.now(),
): void {
  const description = describe(request, now - waitedMs)
  if (ended) logEnd(log, description, waitedMs)
  else
    log.warn(
      { event: 'request-waiting', ...description },
      'a request is stuck: it has waited for 10 s for a lock or a lease on the host',
    )
}

interface Stuck {
  readonly request: Description & { readonly worker: number }
  readonly began: number
}

function nameOf({ worker, number }: RequestInProgress): string {
  return `${worker} ${number}`
}

/** Those that hold up their thread. The main thread looks, since that can't. */
export class StuckRequests {
  readonly #log: Pick<Logger, 'warn'>
  readonly #now: () => number
  /** By worker and number. */
  readonly #stuck = new Map<string, Stuck>()

  /** @param now milliseconds since the epoch */
  constructor(log: Pick<Logger, 'warn'>, now = (): number => Date.now()) {
    this.#log = log
    this.#now = now
  }

  /** @param requests all that threads are at work on */
  look(requests: readonly RequestInProgress[]): void {
    const present = new Set(requests.map(nameOf))
    for (const [name, { request, began }] of this.#stuck) {
      if (present.has(name)) continue
      this.#stuck.delete(name)
      logEnd(this.#log, request, this.#now() - began)
    }
    for (const each of requests) {
      const { worker, opcode, nodeid, milliseconds } = each
      if (milliseconds < STUCK_MS || this.#stuck.has(nameOf(each))) continue
      const began = this.#now() - milliseconds
      const request = { worker, ...describe({ opcode, nodeid }, began) }
      this.#stuck.set(nameOf(each), { request, began })
      this.#log.warn({ event: 'request-stuck', ...request }, 'a request is stuck: the host has not answered for 10 s')
    }
  }
}
