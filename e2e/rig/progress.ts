// SPDX-License-Identifier: Apache-2.0
/** Progress for a person who waits: one line when a step starts, one when it ends, and a sign of life in between. */
import { basename } from 'node:path'

const started = Date.now()

/** Seconds with one decimal since `since` (milliseconds, as Date.now()). */
export function secondsSince(since: number): string {
  return ((Date.now() - since) / 1000).toFixed(1)
}

/** Prints one line on stderr, stamped with the seconds since this process started. */
export function say(text: string): void {
  process.stderr.write(`[${secondsSince(started).padStart(6)}] ${text}\n`)
}

/** A sink for output that comes in pieces; passes on whole lines, each behind `prefix`. */
export function prefixedLines(prefix: string, to: NodeJS.WritableStream): (chunk: Buffer) => void {
  let rest = ''
  return (chunk) => {
    const lines = (rest + chunk.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) to.write(`${prefix}${line}\n`, 'latin1')
  }
}

/** A step that failed: says what failed and where its log is. */
export class StepError extends Error {
  readonly logPath: string | undefined
  constructor(message: string, logPath?: string, options?: ErrorOptions) {
    super(logPath === undefined ? message : `${message}\n  log: ${logPath}`, options)
    this.name = 'StepError'
    this.logPath = logPath
  }
}

/** Runs `work` between a starting and an ending line; every ten seconds a line says that it is still at it. */
export async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const since = Date.now()
  say(`${title} ...`)
  const timer = setInterval(() => say(`${title}: ${secondsSince(since)} s so far`), 10_000)
  timer.unref()
  try {
    const result = await work()
    say(`${title}: done in ${secondsSince(since)} s`)
    return result
  } catch (error) {
    say(`${title}: FAILED after ${secondsSince(since)} s`)
    throw error
  } finally {
    clearInterval(timer)
  }
}

/** Runs a program's main function: a StepError is told in its own words, anything else with its stack. */
export function runMain(main: () => Promise<number>): void {
  main().then(
    // Whatever is still running belongs to what has ended.
    (code) => process.exit(code),
    (error: unknown) => {
      const name = basename(process.argv[1] ?? 'viewfsd')
      if (error instanceof StepError) process.stderr.write(`${name}: ${error.message}\n`)
      else process.stderr.write(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
      process.exit(1)
    },
  )
}
