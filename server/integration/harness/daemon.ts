// SPDX-License-Identifier: Apache-2.0
/** Starts the real daemon for one test: its own directory, socket and log, all gone afterwards. */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { getSystemErrorName } from 'node:util'
import { testing } from '../../../native/testing/index.ts'
import { reachableCheckout } from './reachable-checkout.ts'

/** Which window the window tests ask for: VIEWFSD_TEST_WINDOW, shmem if unset. */
export const TEST_WINDOW = process.env.VIEWFSD_TEST_WINDOW === 'memory-view' ? 'memory-view' : 'shmem'

/** Another virtiofsd to drive instead, to see that the harness is right: VIEWFSD_TEST_REFERENCE. */
export const REFERENCE = process.env.VIEWFSD_TEST_REFERENCE

/** Stretches every time limit: VIEWFSD_TEST_PATIENCE, for an emulated machine. */
export const PATIENCE = Number(process.env.VIEWFSD_TEST_PATIENCE ?? 1)

/** Longer than anything may take; only a failing test waits that long. */
const TIMEOUT_MS = 60_000 * PATIENCE

const PROGRAM = join(reachableCheckout(), 'dist/server/main.js')

/** What a test wants of the daemon. */
export interface DaemonOptions {
  /** The directory to share; `<scratch>/share` if not given. */
  readonly sharedDir?: string
  readonly tag?: string
  /** Any further arguments; they come last. */
  readonly args?: readonly string[]
  readonly window?: 'none' | 'shmem' | 'memory-view' | 'auto'
  /** Run as this user, who then owns the directories; of the group `gid`, or of the same number. */
  readonly uid?: number
  readonly gid?: number
  /** A program and its arguments that prepares something and then executes the command, which comes last. */
  readonly through?: readonly string[]
  /** Further variables of the environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Another Node than the test's own to run viewfsd. */
  readonly node?: string
  /** Another virtiofsd to start instead of viewfsd; its window options are left out. */
  readonly program?: string
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A running (or ended) daemon. */
export class Daemon {
  /** Scratch directory of the test. */
  readonly directory: string
  readonly sharedDir: string
  readonly socketPath: string
  readonly #logPath: string
  readonly #process: ChildProcess
  readonly #exit: Promise<Exit>
  exited: Exit | undefined

  constructor(directory: string, options: DaemonOptions = {}) {
    this.directory = directory
    this.sharedDir = options.sharedDir ?? join(directory, 'share')
    this.socketPath = join(directory, 'socket')
    this.#logPath = join(directory, 'log')
    mkdirSync(this.sharedDir, { recursive: true })
    if (options.uid !== undefined) {
      const owned = [
        directory,
        this.sharedDir,
        ...readdirSync(this.sharedDir).map((name) => join(this.sharedDir, name)),
      ]
      for (const path of owned) chownSync(path, options.uid, options.gid ?? options.uid)
    }
    const log = openSync(this.#logPath, 'a')
    const args = [`--socket-path=${this.socketPath}`, `--shared-dir=${this.sharedDir}`]
    if (options.tag !== '') {
      args.push(`--tag=${options.tag ?? 'test'}`)
    }
    const reference = options.program ?? REFERENCE
    if (reference === undefined) {
      args.push(`--window=${options.window ?? 'none'}`)
    } else {
      args.push('--sandbox=none', '--seccomp=none', '--inode-file-handles=never')
    }
    args.push(...(options.args ?? []))
    const daemon = reference === undefined ? [options.node ?? process.execPath, PROGRAM] : [reference]
    const [command = '', ...words] = [...(options.through ?? []), ...daemon, ...args]
    this.#process = spawn(command, words, {
      stdio: ['ignore', log, log],
      env: { ...process.env, NODE_OPTIONS: '', ...options.env },
      // What it is started through becomes the user itself.
      ...(options.uid === undefined || options.through !== undefined
        ? {}
        : { uid: options.uid, gid: options.gid ?? options.uid }),
    })
    closeSync(log)
    this.#exit = new Promise((done) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.exited = { code, signal }
        done(this.exited)
      }
      this.#process.once('exit', ended)
      this.#process.once('error', () => ended(null, null))
    })
  }

  get pid(): number {
    return this.#process.pid ?? -1
  }

  /** All that the daemon has printed. */
  get log(): string {
    return readFileSync(this.#logPath, 'utf8')
  }

  /** The log's JSON lines. */
  get records(): unknown[] {
    const records: unknown[] = []
    for (const line of this.log.split('\n')) {
      if (line.startsWith('{') && line.endsWith('}')) {
        records.push(JSON.parse(line))
      }
    }
    return records
  }

  /** Waits until the daemon listens, and connects. @returns the socket, which is the caller's */
  async connect(): Promise<number> {
    const deadline = Date.now() + TIMEOUT_MS
    for (;;) {
      const fd = testing.connectUnix(this.socketPath)
      if (fd >= 0) {
        return fd
      }
      if (this.exited !== undefined) {
        throw new Error(`the daemon ended before it listened\n${this.log}`)
      }
      if (Date.now() > deadline) {
        throw new Error(`nobody listens: ${getSystemErrorName(fd)}\n${this.log}`)
      }
      await delay(5)
    }
  }

  /** Waits for the end of the process. */
  async exit(): Promise<Exit> {
    const timer = new AbortController()
    const late = delay(TIMEOUT_MS, undefined, { signal: timer.signal }).catch(() => undefined)
    const result = await Promise.race([this.#exit, late])
    timer.abort()
    if (result === undefined) {
      throw new Error(`the daemon still runs after ${TIMEOUT_MS} ms\n${this.log}`)
    }
    return result
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Whether the process lives, by the kernel's word: works within synchronous code. */
  get alive(): boolean {
    if (this.exited !== undefined) {
      return false
    }
    try {
      const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      return !/\) [ZX] /.test(stat)
    } catch {
      return false
    }
  }

  /** The process that serves: in a sandbox the one that was started is a launcher, and this is its child. */
  get servingPid(): number {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim()
    return children === '' ? this.pid : Number(children.split(' ')[0])
  }

  /** Open descriptors, as `/proc` names them. */
  get openFiles(): number {
    return readdirSync(`/proc/${this.servingPid}/fd`).length
  }

  /** Waits for something that the daemon does on its own. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + TIMEOUT_MS
    while (!condition()) {
      if (Date.now() > deadline) {
        throw new Error(`${what}: not after ${TIMEOUT_MS} ms\n${this.log}`)
      }
      await delay(5)
    }
  }

  /** Ends it, however it is. */
  async kill(): Promise<void> {
    if (this.exited === undefined) {
      this.#process.kill('SIGKILL')
      await this.exit()
    }
  }
}

/** A scratch directory on a file system with xattrs, O_TMPFILE and holes. */
export function makeScratch(): string {
  return mkdtempSync(join(process.env.VIEWFSD_TEST_DIR ?? tmpdir(), 'viewfsd-test-'))
}

export function removeScratch(directory: string): void {
  if (existsSync(directory)) {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  }
}
