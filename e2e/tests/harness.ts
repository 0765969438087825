// SPDX-License-Identifier: Apache-2.0
/** A very small test runner for programs inside the rig: one line a test, TAP style, and a count at the end. */
import { appendFileSync } from 'node:fs'
import { FETCH_LOOP_STATUS, FetchLoopError } from '../guest/fetch-loop.ts'

interface Outcome {
  readonly name: string
  readonly error: string | undefined
  /** The failure is one of the emulator's: what follows in the same guest fails for it, too. */
  readonly emulator?: boolean
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

/** Runs one test; gives whether it passed. A failure is printed at once with its reason. */
export async function test(name: string, body: () => Promise<void> | void): Promise<boolean> {
  if (!selected(name)) return true
  const since = Date.now()
  let error: string | undefined
  let emulator = false
  try {
    await body()
  } catch (caught) {
    if (caught instanceof Skip) {
      print(`ok ${outcomes.length + 1} - ${name} # SKIP ${caught.message}`)
      outcomes.push({ name, error: undefined })
      return true
    }
    error = caught instanceof Error ? caught.message : String(caught)
    emulator = caught instanceof FetchLoopError
  }
  outcomes.push({ name, error, emulator })
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

/** Prints the plan and the failures; gives the exit status. */
export function finish(): number {
  const failed = outcomes.filter((outcome) => outcome.error !== undefined)
  print(`1..${outcomes.length}`)
  print(failed.length === 0 ? `# all ${outcomes.length} passed` : `# ${failed.length} of ${outcomes.length} FAILED`)
  for (const outcome of failed) print(`#   ${outcome.name}`)
  appendFileSync('/out/results.json', `${JSON.stringify(outcomes)}\n`)
  if (failed[0]?.emulator === true) return FETCH_LOOP_STATUS
  return failed.length === 0 && outcomes.length > 0 ? 0 : 1
}
