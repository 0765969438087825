// SPDX-License-Identifier: Apache-2.0
/**
 * A fault of the outer emulator (TCG with AMD-V, seen in QEMU 10.0.13): now and then a guest's virtual CPU faults on the
 * fetch of one instruction of a kernel module, again and again, for ever. Its registers tell: CR2 is RIP, and nothing
 * moves. Seen in a 7.3 guest; that its modules lie in huge mappings is a guess at the cause.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Qmp } from './qmp.ts'

/** The machine's emulator is at fault, not what is tested; the rig repeats the run. */
export class FetchLoopError extends Error {
  override readonly name = 'FetchLoopError'
}

/** Exit status of a session whose only failures come from a fetch loop. */
export const FETCH_LOOP_STATUS = 98

/** The main function of a session: a fetch loop is told by the exit status. */
export async function fetchLoopAsStatus(main: () => Promise<number>): Promise<number> {
  try {
    return await main()
  } catch (error) {
    if (!(error instanceof FetchLoopError)) throw error
    process.stderr.write(`${error.message}\n`)
    return FETCH_LOOP_STATUS
  }
}

const INTERVAL_MS = 15_000
const SAMPLES = 4

/** RIP, RSP and CR2 of the first virtual CPU where it is in a fetch fault. */
export function fetchFault(registers: string): string | undefined {
  const value = (name: string) => new RegExp(`\\b${name}=([0-9a-f]{16})`).exec(registers)?.[1]
  const rip = value('RIP')
  return rip !== undefined && rip === value('CR2') ? `RIP=CR2=${rip} RSP=${value('RSP')}` : undefined
}

/** Waits for `work`, which the guest of `qmp` does; throws FetchLoopError where that is seen in a loop meanwhile. */
export async function unlessFetchLoop<T>(qmp: Qmp, work: Promise<T>): Promise<T> {
  const done = new AbortController()
  const loop = watch(qmp, done.signal).catch((error: unknown) => {
    if (error instanceof FetchLoopError) throw error
    // QEMU has ended, or the work has: that tells.
    return new Promise<never>(() => {})
  })
  try {
    return await Promise.race([work, loop])
  } finally {
    done.abort()
  }
}

/** Looks every few seconds until `signal`; throws FetchLoopError when the guest is seen in the same fault all the time. */
async function watch(qmp: Qmp, signal: AbortSignal): Promise<never> {
  let last: string | undefined
  let seen = 0
  for (;;) {
    await sleep(INTERVAL_MS, undefined, { signal })
    const fault = fetchFault(await qmp.hmp('info registers'))
    seen = fault !== undefined && fault === last ? seen + 1 : 0
    last = fault
    if (seen === SAMPLES)
      throw new FetchLoopError(`the guest loops in the fetch of one instruction, a fault of the emulator: ${fault}`)
  }
}
