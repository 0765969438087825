// SPDX-License-Identifier: Apache-2.0
/** A very small test runner for programs inside the rig: one line a test, TAP style, and a count at the end. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { EmulatorFault } from '../rig/emulator-fault.ts'
import type { Rig } from './session.ts'

interface Outcome {
  readonly name: string
  readonly error: string | undefined
}

const outcomes: Outcome[] = []
const wanted = process.env['VIEWFSD_TESTS']

/** What a test could not check here, and why; it is shown, never counted as passed. */
export class Skip extends Error {}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Whether VIEWFSD_TESTS (a regular expression over `suite: name`) selects this one. */
export function selected(name: string): boolean {
  return wanted === undefined || wanted === '' || new RegExp(wanted).test(name)
}

const ATTEMPTS = 3

/**
 * Runs the tests of a guest in folders of their own; again, visibly, when the emulator ended that guest. The last attempt's
 * fault is the session's end.
 */
export async function suite(rig: Rig, name: string, run: (rig: Rig) => Promise<void>): Promise<void> {
  const before = outcomes.length
  for (let attempt = 1; ; attempt++) {
    const own = { ...rig, data: join(rig.data, `${name}-${attempt}`), run: join(rig.run, `${name}-${attempt}`) }
    for (const dir of [own.data, own.run]) mkdirSync(dir, { recursive: true })
    try {
      await run(own)
      return
    } catch (error) {
      if (!(error instanceof EmulatorFault) || attempt === ATTEMPTS) throw error
      print(`# ${name}: ${error.message}; again from the start`)
      outcomes.length = before
    }
  }
}

/**
 * Runs one test; gives whether it passed. A failure is printed at once with its reason. One of the emulator's is none: it is
 * thrown.
 */
export async function test(name: string, body: () => Promise<void> | void): Promise<boolean> {
  if (!selected(name)) return true
  const since = Date.now()
  let error: string | undefined
  try {
    await body()
  } catch (caught) {
    if (caught instanceof Skip) {
      print(`ok ${outcomes.length + 1} - ${name} # SKIP ${caught.message}`)
      outcomes.push({ name, error: undefined })
      return true
    }
    if (caught instanceof EmulatorFault) throw caught
    error = caught instanceof Error ? caught.message : String(caught)
  }
  outcomes.push({ name, error })
  const seconds = ((Date.now() - since) / 1000).toFixed(1)
  print(`${error === undefined ? 'ok' : 'not ok'} ${outcomes.length} - ${name} (${seconds} s)`)
  if (error !== undefined) print(error.replace(/^/gm, '  # '))
  return error === undefined
}

/** Throws with both values unless they are the same. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  if (!Object.is(actual, expected)) throw new Error(`${what}: expected ${String(expected)}, got ${String(actual)}`)
}

/** Throws unless the condition holds. */
export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** A counter of the daemon's that may not be there yet. */
export function count(counters: ReadonlyMap<string, number>, name: string): number {
  return counters.get(name) ?? 0
}

/** Prints the plan and the failures; gives the exit status. */
export function finish(): number {
  const failed = outcomes.filter((outcome) => outcome.error !== undefined)
  print(`1..${outcomes.length}`)
  print(failed.length === 0 ? `# all ${outcomes.length} passed` : `# ${failed.length} of ${outcomes.length} FAILED`)
  for (const outcome of failed) print(`#   ${outcome.name}`)
  appendFileSync('/out/results.json', `${JSON.stringify(outcomes)}\n`)
  return failed.length === 0 && outcomes.length > 0 ? 0 : 1
}
