// SPDX-License-Identifier: Apache-2.0
/** The daemons that serve a guest: viewfsd, and Rust virtiofsd as the one to compare with. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout } from '../rig/paths.ts'

/** Longer than a daemon takes for anything on a machine that emulates several hosts at once. */
const HANG_MS = 600_000

export class FsDaemon {
  readonly name: string
  readonly socketPath: string
  readonly logPath: string
  readonly process: ChildProcess
  readonly exited: Promise<string>

  constructor(
    name: string,
    argv: readonly string[],
    socketPath: string,
    logPath: string,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.name = name
    this.socketPath = socketPath
    this.logPath = logPath
    rmSync(socketPath, { force: true })
    const [file = '', ...args] = argv
    const log = openSync(logPath, 'a')
    this.process = spawn(file, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } })
    closeSync(log)
    this.exited = new Promise((resolve, reject) => {
      this.process.on('error', reject)
      this.process.on('exit', (code, signal) => resolve(signal ?? `exit status ${code}`))
    })
    this.exited.catch(() => {})
  }

  log(): string {
    return existsSync(this.logPath) ? readFileSync(this.logPath, 'utf8') : ''
  }

  running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  /** Waits until the socket is there. */
  async listening(timeoutMs = 300_000): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!existsSync(this.socketPath)) {
      if (!this.running()) throw new Error(`${this.name} ended: ${this.log().slice(-2000)}`)
      if (Date.now() > deadline) throw new Error(`${this.name} has no socket after ${timeoutMs / 1000} s`)
      await sleep(50)
    }
  }

  /** Ends the daemon with `signal` and tells how it ended. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<string> {
    if (!this.running()) return this.exited
    this.process.kill(signal)
    const timer = setTimeout(() => this.process.kill('SIGKILL'), HANG_MS)
    const how = await this.exited
    clearTimeout(timer)
    return how
  }
}

/** Numbers that viewfsd prints on SIGUSR1, by their path in the log line (`requests.READ`, `view.segments`, ...). */
export type Counters = ReadonlyMap<string, number>

function flatten(value: unknown, path: string, into: Map<string, number>): void {
  if (typeof value === 'number') into.set(path, value)
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) flatten(inner, path === '' ? key : `${path}.${key}`, into)
}

/** viewfsd, with its counters. */
export class Viewfsd extends FsDaemon {
  /** With --on-crash=restart: the process that serves, the youngest child of the first process in the namespaces. */
  server(): number {
    const first = execFileSync('pgrep', ['-P', String(this.process.pid)], { encoding: 'utf8' }).trim()
    return Number(execFileSync('pgrep', ['-n', '-P', first], { encoding: 'utf8' }).trim())
  }

  /** Asks for the counters with SIGUSR1 and waits for the line. */
  async counters(): Promise<Counters> {
    const before = this.log().length
    this.process.kill('SIGUSR1')
    const deadline = Date.now() + HANG_MS
    while (Date.now() < deadline) {
      for (const line of this.log().slice(before).split('\n').slice(0, -1)) {
        const entry: unknown = JSON.parse(line)
        if (typeof entry !== 'object' || entry === null || !('counters' in entry)) continue
        const counters = new Map<string, number>()
        flatten(entry.counters, '', counters)
        return counters
      }
      await sleep(20)
    }
    throw new Error(`${this.name} printed no counters after SIGUSR1: ${this.log().slice(-1000)}`)
  }
}

/** Starts Rust virtiofsd without a sandbox. */
export async function startVirtiofsd(
  dir: string,
  name: string,
  sharedDir: string,
  extra: string[] = [],
): Promise<FsDaemon> {
  mkdirSync(dir, { recursive: true })
  const socketPath = join(dir, `${name}.sock`)
  const argv = ['/usr/libexec/virtiofsd', `--socket-path=${socketPath}`, `--shared-dir=${sharedDir}`]
  argv.push('--sandbox=none', '--log-level=warn', ...extra)
  const daemon = new FsDaemon(name, argv, socketPath, join(dir, `${name}.log`))
  await daemon.listening()
  return daemon
}

/** Starts viewfsd from the checkout's dist/. The words of VIEWFSD_DAEMON_ARGS come last; `env` is added to the environment. */
export async function startViewfsd(
  dir: string,
  name: string,
  sharedDir: string,
  extra: string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Viewfsd> {
  mkdirSync(dir, { recursive: true })
  const socketPath = join(dir, `${name}.sock`)
  const argv = [process.execPath, join(checkout, 'dist/server/main.js')]
  argv.push(`--socket-path=${socketPath}`, `--shared-dir=${sharedDir}`, `--tag=${name}`, ...extra)
  argv.push(...(process.env['VIEWFSD_DAEMON_ARGS'] ?? '').split(' ').filter((word) => word !== ''))
  const daemon = new Viewfsd(name, argv, socketPath, join(dir, `${name}.log`), env)
  await daemon.listening()
  return daemon
}
