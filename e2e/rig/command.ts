// SPDX-License-Identifier: Apache-2.0
/**
 * Child processes of the rig. Each runs in a process group of its own and dies with this process: on SIGINT, SIGTERM
 * and SIGHUP we kill the groups ourselves, and `setpriv --pdeathsig` covers our own SIGKILL.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { StepError } from './progress.ts'

const live = new Set<ChildProcess>()
const onStop: (() => void)[] = []
let handlersInstalled = false

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group has gone by itself.
  }
}

function installHandlers(): void {
  if (handlersInstalled) return
  handlersInstalled = true
  process.on('exit', () => {
    for (const child of live) killGroup(child)
  })
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => {
      for (const child of live) killGroup(child)
      for (const hook of onStop) hook()
      process.exit(128 + number)
    })
  }
}

/** Calls `hook` when a signal ends this process, after its children have been killed. */
export function atInterrupt(hook: () => void): void {
  installHandlers()
  onStop.push(hook)
}

/** Starts a program in a group of its own that does not outlive this process. */
export function start(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  installHandlers()
  const child = spawn('setpriv', ['--pdeathsig', 'SIGKILL', ...argv], { ...options, detached: true })
  live.add(child)
  child.on('exit', () => live.delete(child))
  return child
}

/** Ends a program started with {@link start}, and all it started. */
export function stop(child: ChildProcess): void {
  killGroup(child)
}

/** How a process ended: exactly one of the two is set. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Waits for the end of a process; rejects when it could not be started. */
export function ended(child: ChildProcess): Promise<Ending> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })
}

/** Runs a program with its output appended to `logPath`; throws a StepError unless it exits with 0. */
export async function runLogged(
  what: string,
  argv: readonly string[],
  logPath: string,
  options: SpawnOptions = {},
): Promise<void> {
  const log = openSync(logPath, 'a')
  try {
    const child = start(argv, { ...options, stdio: ['ignore', log, log] })
    const { code, signal } = await ended(child)
    if (code !== 0) throw new StepError(`${what} failed (${signal ?? `exit status ${code}`})`, logPath)
  } finally {
    closeSync(log)
  }
}

/** The standard output of a short program; throws when it fails. */
export function output(argv: readonly string[]): string {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('output: empty argv')
  const result = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 64 << 20 })
  if (result.error) throw result.error
  if (result.status !== 0) throw new StepError(`${argv.join(' ')} failed: ${result.stderr.trim()}`)
  return result.stdout
}

/** Quotes a word for a POSIX shell. */
export function shellQuote(word: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
