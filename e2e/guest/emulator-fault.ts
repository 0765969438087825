// SPDX-License-Identifier: Apache-2.0
/**
 * A fault of the outer emulator (TCG with AMD-V, QEMU 10.0.13): now and then, about once in a quarter of an hour of guests at
 * work, a #VMEXIT saves the registers of the nested host in place of the guest's. Seen in KVM's trace: RIP is the instruction
 * after VMRUN in the host's kvm_amd, CR3 lies beyond the guest's memory. The guest then either faults on that instruction for
 * ever (CR2 is RIP, and nothing moves), or resets (a triple fault) with not a word on its console; a kernel that panics resets,
 * too, but says why.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Qmp } from './qmp.ts'

/** The machine's emulator is at fault, not what is tested; the rig repeats the run. */
export class EmulatorFault extends Error {
  override readonly name = 'EmulatorFault'
}

/** Exit status of a session that such a fault ended. */
export const EMULATOR_FAULT_STATUS = 98

/** The main function of a session: an emulator's fault is told by the exit status. */
export async function emulatorFaultAsStatus(main: () => Promise<number>): Promise<number> {
  try {
    return await main()
  } catch (error) {
    if (!(error instanceof EmulatorFault)) throw error
    process.stderr.write(`${error.message}\n`)
    return EMULATOR_FAULT_STATUS
  }
}

const INTERVAL_MS = 5000
const SAMPLES = 4

/** RIP, RSP and CR2 of the first virtual CPU where it is in a fetch fault. */
export function fetchFault(registers: string): string | undefined {
  const value = (name: string) => new RegExp(`\\b${name}=([0-9a-f]{16})`).exec(registers)?.[1]
  const rip = value('RIP')
  return rip !== undefined && rip === value('CR2') ? `RIP=CR2=${rip} RSP=${value('RSP')}` : undefined
}

/** Watches one guest for these faults. */
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
