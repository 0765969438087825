// SPDX-License-Identifier: Apache-2.0
/**
 * Requests that wait for somebody on the host: a SETLKW for its lock, an OPEN for the end of a lease. None blocks its thread:
 * the request is set aside, and served again from the start whenever the thread has served something, and every few
 * milliseconds. That covers locks of other threads, of other programs on the host and of other hosts alike, and ends with an
 * INTERRUPT, the stop of the queue, a file that is closed, or the request's patience.
 */
import { Errno } from '../errno.ts'
import type { FuseChannel } from './channel.ts'
import type { FuseSession } from './session.ts'

/** The first tries come soon; who waits long can wait a little longer. */
const FIRST_WAIT_MS = 1
const LONGEST_WAIT_MS = 32

/** A request that has waited, or otherwise been at work, for so long is stuck: it is named in the log. */
export const STUCK_MS = 10_000
/** How many of those that wait are named at a time: a guest that fills the queue with them shall not fill the log. */
const MAX_NAMED = 8

export interface WaitingRequest {
  readonly unique: number
  readonly opcode: number
  readonly nodeid: number
}

interface Wait {
  readonly request: WaitingRequest
  readonly deferred: number
  /** The guest's session: see FuseChannel. */
  readonly session: number
  /** By performance.now(), like `deadline`. */
  readonly began: number
  /** When it fails with EAGAIN. */
  readonly deadline: number
  readonly named: boolean
}

export class Waits {
  /** Told of a request that has waited for STUCK_MS, and again when it no longer waits. */
  onStuck: (request: WaitingRequest, waitedMs: number, ended: boolean) => void = () => {}
  readonly #waits: Wait[] = []
  #waitMs = FIRST_WAIT_MS
  /** The one that is being served again. */
  #current: Wait | undefined
  #named = 0

  /** How long until the next try; -1 where nobody waits. */
  get waitMs(): number {
    return this.#waits.length === 0 ? -1 : this.#waitMs
  }

  /**
   * Sets the current request aside, for the first time or once more.
   * @param patienceMs counted from the first time
   * @returns 0, or `-errno` where it can't be set aside
   */
  add(channel: FuseChannel, request: WaitingRequest, patienceMs: number): number {
    const now = performance.now()
    const before = this.#current
    const began = before?.began ?? now
    const deadline = before?.deadline ?? now + patienceMs
    if (now >= deadline) return -Errno.EAGAIN
    const deferred = channel.defer()
    if (deferred < 0) return deferred
    let named = before?.named ?? false
    if (!named && now - began >= STUCK_MS && this.#named < MAX_NAMED) {
      named = true
      this.#named++
      this.onStuck(request, now - began, false)
    }
    this.#waits.push({ request, deferred, session: channel.session, began, deadline, named })
    if (before === undefined) this.#waitMs = FIRST_WAIT_MS
    return 0
  }

  /**
   * Tries each once, in the order in which they came.
   * @param serve serves the channel's current request, which may `add` it again
   */
  retry(channel: FuseChannel, session: FuseSession, serve: () => void): void {
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS)
    for (let left = this.#waits.length; left > 0; left--) {
      const wait = this.#waits.shift()
      if (wait === undefined) continue
      if (!channel.resume(wait.deferred)) {
        this.#end(wait)
        continue
      }
      const others = this.#waits.length
      this.#current = wait
      try {
        if (wait.session !== channel.session) channel.replyError(Errno.ENOTCONN)
        else if (session.takeInterrupt(wait.request.unique, wait.session)) channel.replyError(Errno.EINTR)
        else serve()
      } finally {
        this.#current = undefined
      }
      if (this.#waits.length > others) continue
      this.#waitMs = FIRST_WAIT_MS
      this.#end(wait)
    }
  }

  #end({ named, request, began }: Wait): void {
    if (!named) return
    this.#named--
    this.onStuck(request, performance.now() - began, true)
  }
}
