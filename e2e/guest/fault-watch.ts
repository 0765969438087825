// SPDX-License-Identifier: Apache-2.0
/** Watches a guest for the emulator's fault (rig/emulator-fault.ts): it must not pass for a failure of what is tested. */
import { setTimeout as sleep } from 'node:timers/promises'
import { EmulatorFault } from '../rig/emulator-fault.ts'
import type { Qmp } from './qmp.ts'

const INTERVAL_MS = 5000
const SAMPLES = 4

/** RIP, RSP and CR2 of the first virtual CPU where it is in a fetch fault. */
export function fetchFault(registers: string): string | undefined {
  const value = (name: string) => new RegExp(`\\b${name}=([0-9a-f]{16})`).exec(registers)?.[1]
  const rip = value('RIP')
  return rip !== undefined && rip === value('CR2') ? `RIP=CR2=${rip} RSP=${value('RSP')}` : undefined
}

export class FaultWatch {
  readonly #qmp: Qmp
  /** Rejects when the guest resets and may not. */
  readonly #reset: Promise<never>
  #mayReset = false

  /** `complaints` gives what the guest's kernel said: with a word, a reset is the guest's own. */
  constructor(qmp: Qmp, complaints: () => readonly string[]) {
    this.#qmp = qmp
    this.#reset = new Promise((_, reject) => {
      qmp.on('event', (name: string) => {
        if (name !== 'RESET' || this.#mayReset) return
        const said = complaints()
        reject(
          said.length > 0
            ? new Error(`the guest has reset:\n${said.join('\n')}`)
            : new EmulatorFault('the guest has reset without a word, a fault of the emulator'),
        )
      })
    })
    this.#reset.catch(() => {})
  }

  /** Waits for a reboot that the guest was asked for; a kernel may take several resets to do it. */
  async duringReboot<T>(work: Promise<T>): Promise<T> {
    this.#mayReset = true
    try {
      return await this.during(work)
    } finally {
      this.#mayReset = false
    }
  }

  /** Waits for `work`, which the guest does; throws where it has reset, or loops or resets meanwhile. */
  async during<T>(work: Promise<T>): Promise<T> {
    const done = new AbortController()
    try {
      return await Promise.race([this.#reset, work, watchFetch(this.#qmp, done.signal)])
    } finally {
      done.abort()
    }
  }
}

/** Looks every few seconds until `signal`; throws when the guest is seen in the same fault all the time. */
async function watchFetch(qmp: Qmp, signal: AbortSignal): Promise<never> {
  let last: string | undefined
  for (let seen = 0; seen < SAMPLES; ) {
    await sleep(INTERVAL_MS, undefined, { signal })
    // Where QEMU has ended, that tells.
    const fault = fetchFault(await qmp.hmp('info registers').catch(() => ''))
    seen = fault !== undefined && fault === last ? seen + 1 : 0
    last = fault
  }
  throw new EmulatorFault(`the guest loops in the fetch of one instruction, a fault of the emulator: ${last}`)
}
