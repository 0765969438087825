// SPDX-License-Identifier: Apache-2.0
/**
 * What keeps a nested host from standing still. The emulator loses an interrupt now and then: the CPU is halted, its timer's vector
 * is pending in the local APIC, and nobody tells the CPU. Any other interrupt makes it look, so a key is pressed at its keyboard
 * once the host has shown no sign of life for some seconds. On a busy machine that may be for nothing, which does no harm.
 */
import { appendFileSync, closeSync, openSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'

/** host-init.sh writes to it every 2 s; below the run's folder. */
const SIGN_OF_LIFE = 'out/.alive'
/** The socket of the emulator's monitor; below the run's folder. */
export const MONITOR = 'monitor.sock'
/** What was done about it; below the run's folder. */
const LOG = 'standstill.log'

const CHECK_EACH_MS = 1000
/** Silence after which a key is pressed. */
const PRESS_AFTER_MS = 5000
/** Silence that no key has ended and that is longer than a kernel needs to tell of a lockup. */
const GIVE_UP_AFTER_MS = 240_000

/** How long the host has been silent; 0 before it has come to give signs. */
function silence(dir: string): number {
  const sign = statSync(join(dir, SIGN_OF_LIFE), { throwIfNoEntry: false })
  return sign === undefined ? 0 : Date.now() - sign.mtimeMs
}

/** Presses a key at the host's keyboard. Without an emulator there, nothing happens. */
function pressKey(dir: string): void {
  // The way through /proc is short enough for the address of a socket, wherever the folder lies.
  const folder = openSync(dir, 'r')
  connect(`/proc/self/fd/${folder}/${MONITOR}`)
    .on('error', () => {})
    .on('close', () => closeSync(folder))
    .resume()
    .end('sendkey shift\n')
}

export class StandstillWatch {
  readonly #dir: string
  readonly #giveUp: () => void
  readonly #timer: NodeJS.Timeout
  #keys = 0
  #longest = 0

  /**
   * @param dir The run's folder.
   * @param giveUp Called when keys don't help.
   */
  constructor(dir: string, giveUp: () => void) {
    this.#dir = dir
    this.#giveUp = giveUp
    this.#timer = setInterval(() => this.check(), CHECK_EACH_MS)
  }

  check(): void {
    const silent = silence(this.#dir)
    if (silent > GIVE_UP_AFTER_MS) {
      this.#giveUp()
    } else if (silent > PRESS_AFTER_MS) {
      pressKey(this.#dir)
      this.#keys++
      this.#longest = silent
    } else if (this.#keys > 0) {
      const what = `${(this.#longest / 1000).toFixed(0)} s of silence and ${this.#keys} keys`
      appendFileSync(join(this.#dir, LOG), `${new Date().toISOString()} went on after ${what}\n`)
      this.#keys = 0
    }
  }

  end(): void {
    clearInterval(this.#timer)
  }
}
