// SPDX-License-Identifier: Apache-2.0
/** Watches a guest for the emulator's fault (rig/emulator-fault.ts): it must not pass for a failure of what is tested. */
import { setTimeout as sleep } from 'node:timers/promises'
import { EmulatorFault, unfinishedDelivery } from '../rig/emulator-fault.ts'
import type { Qmp } from './qmp.ts'

const INTERVAL_MS = 5000
const SAMPLES = 4

/** RIP, RSP and CR2 of the first virtual CPU where it is in a fetch fault. */
export function fetchFault(registers: string): string | undefined {
  const value = (name: string) => new RegExp(`\\b${name}=([0-9a-f]{16})`).exec(registers)?.[1]
  const rip = value('RIP')
  return rip !== undefined && rip === value('CR2') ? `RIP=CR2=${rip} RSP=${value('RSP')}` : undefined
}

/** What was said of a guest so far. */
export interface GuestLogs {
  /** By its kernel: with a word, a reset is the guest's own. */
  readonly complaints: () => readonly string[]
  /** By QEMU. */
  readonly qemu: () => string
}

export class FaultWatch {
  readonly #qmp: Qmp
  readonly #logs: GuestLogs
  /** Rejects when the guest resets and may not, or can't go on. */
  readonly #lost: Promise<never>
  #mayReset = false

  constructor(qmp: Qmp, logs: GuestLogs) {
    this.#qmp = qmp
    this.#logs = logs
    this.#lost = new Promise((_, reject) => {
      qmp.on('event', (name: string) => {
        if (name === 'RESET' && !this.#mayReset) reject(this.#whyReset())
        if (name === 'STOP') void this.#whyStopped().then((why) => why !== undefined && reject(why))
      })
    })
    this.#lost.catch(() => {})
  }

  #whyReset(): Error {
    const said = this.#logs.complaints()
    return said.length > 0
      ? new Error(`the guest has reset:\n${said.join('\n')}`)
      : new EmulatorFault('the guest has reset without a word, a fault of the emulator')
  }

  /** Nothing where somebody asked for it. */
  async #whyStopped(): Promise<Error | undefined> {
    // Where QEMU has ended, that tells.
    const status = await this.#qmp.hmp('info status').catch(() => '')
    if (!status.includes('internal-error')) return undefined
    return this.unfinishedDelivery() ?? new Error(`the guest can not go on:\n${this.#logs.qemu().slice(-4000)}`)
  }

  /** The fault where QEMU tells of it, which may end before it has answered. */
  unfinishedDelivery(): EmulatorFault | undefined {
    return unfinishedDelivery(this.#logs.qemu())
      ? new EmulatorFault('the guest can not go on after an interrupt, a fault of the emulator')
      : undefined
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

  /** Waits for `work`, which the guest does; throws where it is lost, or is seen to loop meanwhile. */
  async during<T>(work: Promise<T>): Promise<T> {
    const done = new AbortController()
    try {
      return await Promise.race([this.#lost, work, watchFetch(this.#qmp, done.signal)])
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
