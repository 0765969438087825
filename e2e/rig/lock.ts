// SPDX-License-Identifier: Apache-2.0
/** A lock among processes of one machine. The kernel's: it goes with its holder, however that ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { say } from './progress.ts'

/** flock's exit status where `--nonblock` finds the lock taken. */
const TAKEN = 75

/**
 * Starts a process that holds the lock until its standard input ends.
 * @returns undefined where another one has the lock and `wait` is not set
 */
async function hold(path: string, wait: boolean): Promise<ChildProcess | undefined> {
  const options = wait ? [] : ['--nonblock', '--conflict-exit-code', String(TAKEN)]
  const holder = spawn('flock', [...options, path, 'sh', '-c', 'echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Ctrl-C is for this process, which then lets go.
    detached: true,
  })
  const status = await new Promise<number | undefined>((resolve, reject) => {
    holder.once('error', reject)
    holder.once('exit', (code) => resolve(code ?? -1))
    holder.stdout?.once('data', () => resolve(undefined))
  })
  if (status === undefined) return holder
  if (status === TAKEN) return undefined
  throw new Error(`flock ${path} ended with status ${status}`)
}

/** Runs `work` while holding the lock on the file `path`, which stays; waits, and says so, while another one holds it. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  let holder = await hold(path, false)
  if (holder === undefined) {
    say(`waiting for another process that holds ${path}`)
    holder = await hold(path, true)
  }
  try {
    return await work()
  } finally {
    const exited = holder === undefined ? undefined : once(holder, 'exit')
    holder?.stdin?.end()
    await exited
  }
}
