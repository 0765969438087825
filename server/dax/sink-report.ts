// SPDX-License-Identifier: Apache-2.0
/**
 * Tells the log of sink pages that a guest's data may have gone to: where a file could not be read or written to through a
 * memory view. The driver has no way to say so by itself, so it is asked now and then.
 */
import type { Logger } from 'pino'
import type { MemoryViewInfo } from '../../native/index.ts'

const INTERVAL_MS = 1000

/** The driver's counts that matter, and where the last lost write was. */
export type SinkCounts = Pick<MemoryViewInfo, 'readErrors' | 'lostWrites' | 'lostOffset'>

export class SinkReport {
  readonly #read: () => SinkCounts
  readonly #log: Pick<Logger, 'warn'>
  #seen = { readErrors: 0, lostWrites: 0 }
  readonly #timer: NodeJS.Timeout

  /** Asks every second until it is closed. It does not keep the process alive. */
  constructor(read: () => SinkCounts, log: Pick<Logger, 'warn'>) {
    this.#read = read
    this.#log = log
    this.#timer = setInterval(() => this.look(), INTERVAL_MS).unref()
  }

  /** One line for each kind that has become more. */
  look(): void {
    const { readErrors, lostWrites, lostOffset } = this.#read()
    const unread = readErrors - this.#seen.readErrors
    const lost = lostWrites - this.#seen.lostWrites
    this.#seen = { readErrors, lostWrites }
    if (unread > 0)
      this.#log.warn(
        { pages: unread, total: readErrors },
        'files could not be read: the guest got empty pages in their place',
      )
    if (lost > 0)
      this.#log.warn(
        { pages: lost, total: lostWrites, windowOffset: lostOffset },
        'files could not be written to, as on a full disk: what the guest stored in their pages is lost',
      )
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
