// SPDX-License-Identifier: Apache-2.0
/**
 * SETLKW requests that wait for their lock. None blocks its thread: the request is set aside, and the lock is tried again
 * whenever the thread has served something, and every few milliseconds. That covers locks of other threads, of other
 * programs on the host and of other hosts alike, and ends with an INTERRUPT, the stop of the queue, or a file that is
 * closed.
 */
import { Errno } from '../errno.ts'
import type { FuseChannel } from './channel.ts'
import type { FileSystem, LockRequest } from './file-system.ts'
import type { FuseSession } from './session.ts'

/** The first tries come soon; who waits long can wait a little longer. */
const FIRST_WAIT_MS = 1
const LONGEST_WAIT_MS = 32

interface Wait {
  readonly deferred: number
  /** The guest's session: see FuseChannel. */
  readonly session: number
  readonly unique: number
  readonly request: LockRequest
}

export class LockWaits {
  readonly #waits: Wait[] = []
  #waitMs = FIRST_WAIT_MS

  /** How long until the next try; -1 where nobody waits. */
  get waitMs(): number {
    return this.#waits.length === 0 ? -1 : this.#waitMs
  }

  /** @returns 0, or `-errno` where the request can't be set aside */
  add(channel: FuseChannel, unique: number, request: LockRequest): number {
    const deferred = channel.defer()
    if (deferred < 0) return deferred
    this.#waits.push({ deferred, session: channel.session, unique, request: { ...request } })
    this.#waitMs = FIRST_WAIT_MS
    return 0
  }

  /** Tries each lock once, in the order in which they were asked for. */
  retry(channel: FuseChannel, fileSystem: FileSystem, session: FuseSession): void {
    if (this.#waits.length === 0) return
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS)
    for (const wait of this.#waits.splice(0)) {
      if (!channel.isDeferred(wait.deferred)) continue
      const result = this.#try(wait, channel, fileSystem, session)
      if (result === -Errno.EAGAIN) {
        this.#waits.push(wait)
        continue
      }
      channel.completeDeferred(wait.deferred, Math.abs(result))
      this.#waitMs = FIRST_WAIT_MS
    }
  }

  #try(wait: Wait, channel: FuseChannel, fileSystem: FileSystem, session: FuseSession): number {
    if (wait.session !== channel.session) return -Errno.ENOTCONN
    return session.takeInterrupt(wait.unique, wait.session) ? -Errno.EINTR : fileSystem.setlk(wait.request)
  }
}
