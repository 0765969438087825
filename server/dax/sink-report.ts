// SPDX-License-Identifier: Apache-2.0
/**
 * Tells the log of sink pages that a guest's data may have gone to: where a file could not be read or written to through a
 * memory view. The driver has no way to say so by itself, so it is asked now and then.
 */
import type { Logger } from 'pino'
import type { MemoryViewInfo } from '../../native/index.ts'

const INTERVAL_MS = 1000
/** Files that are remembered as named. */
const MOST_NAMES = 1000

/** The driver's counts that matter, and where the last lost write was. */
export type SinkCounts = Pick<MemoryViewInfo, 'readErrors' | 'lostWrites' | 'lostOffset'>

export class SinkReport {
  readonly #read: () => SinkCounts
  readonly #fileAt: (windowOffset: number) => Promise<string>
  readonly #log: Pick<Logger, 'warn'>
  readonly #named = new Set<string>()
  #seen = { readErrors: 0, lostWrites: 0 }
  readonly #timer: NodeJS.Timeout

  /**
   * Asks every second until it is closed. It does not keep the process alive.
   * @param fileAt the path of the file that the window shows there, '' if that is not known
   */
  constructor(read: () => SinkCounts, fileAt: (windowOffset: number) => Promise<string>, log: Pick<Logger, 'warn'>) {
    this.#read = read
    this.#fileAt = fileAt
    this.#log = log
    this.#timer = setInterval(() => void this.look(), INTERVAL_MS).unref()
  }

  /** One line for each kind that has become more; of lost writes, only one for each file that is known by name. */
  async look(): Promise<void> {
    const { readErrors, lostWrites, lostOffset } = this.#read()
    const unread = readErrors - this.#seen.readErrors
    const lost = lostWrites - this.#seen.lostWrites
    this.#seen = { readErrors, lostWrites }
    if (unread > 0)
      this.#log.warn(
        { event: 'files-unread', pages: unread, total: readErrors },
        'files could not be read: the guest got empty pages in their place',
      )
    if (lost <= 0) return
    // Within a second of the loss the guest may have put another file there, which is not likely.
    const file = await this.#fileAt(lostOffset)
    if (file !== '' && this.#named.has(file)) return
    if (this.#named.size === MOST_NAMES) this.#named.clear()
    this.#named.add(file)
    this.#log.warn(
      {
        event: 'write-lost',
        pages: lost,
        total: lostWrites,
        windowOffset: lostOffset,
        ...(file === '' ? {} : { file }),
      },
      'a file could not be written to, as on a full disk: what the guest stored in its pages is lost',
    )
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
