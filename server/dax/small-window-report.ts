// SPDX-License-Identifier: Apache-2.0
/** Tells the log, once, of a window that is too small: the guest gives up ranges only to want them back. */
import type { Logger } from 'pino'

const INTERVAL_MS = 60_000
/** Ranges in an interval; fewer cost nobody anything. */
const MANY = 100

export class SmallWindowReport {
  readonly #read: () => number
  readonly #sizeBytes: number
  readonly #log: Pick<Logger, 'warn'>
  #seen = 0
  readonly #timer: NodeJS.Timeout

  /**
   * Asks every minute until it is closed. It does not keep the process alive.
   * @param read ranges that were wanted again so far: `rangesWantedAgain`
   */
  constructor(read: () => number, sizeBytes: number, log: Pick<Logger, 'warn'>) {
    this.#read = read
    this.#sizeBytes = sizeBytes
    this.#log = log
    this.#timer = setInterval(() => this.look(), INTERVAL_MS).unref()
  }

  look(): void {
    const total = this.#read()
    const ranges = total - this.#seen
    this.#seen = total
    if (ranges < MANY) return
    this.#log.warn(
      { event: 'window-small', windowSize: this.#sizeBytes, ranges },
      `the window is too small: within a minute the guest has wanted ${ranges} ranges back that it had given up. ` +
        'Without a window (or with --dax-policy, for the files that fit) it would be faster; ' +
        'with --window-size of 1.25 times what it uses at a time, fastest',
    )
    this.close()
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
