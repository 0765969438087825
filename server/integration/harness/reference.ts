// SPDX-License-Identifier: Apache-2.0
/** Runs viewfsd and Debian's virtiofsd with the same command line, to compare how they end and what they leave. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { virtiofsdProgram } from '../../../e2e/rig/virtiofsd.ts'
import { testing } from '../../../native/testing/index.ts'
import { makeScratch, PATIENCE, removeScratch } from './daemon.ts'
import { Frontend } from './frontend.ts'
import { Disconnected } from './message-socket.ts'
import { Request } from './vhost-user.ts'

const TIMEOUT_MS = 60_000 * PATIENCE
const O_PATH = 0o10000000
const VIEWFSD = [process.execPath, resolve(import.meta.dirname, '../../../dist/server/main.js')]

/** What a command line comes to. */
export interface Ending {
  /** Exit status; of a daemon that served, after its frontend had left. */
  readonly status: number | null
  /** Only of one that listened. */
  readonly served?: {
    /** Permission bits and group of the socket. */
    readonly mode: number
    readonly gid: number
    /** The PID file had the process id and a newline. */
    readonly pidFile: boolean
    /** Soft limit of open files. */
    readonly openFiles: string
    /** What is left in the directory after the end. */
    readonly left: readonly string[]
  }
}

export interface Run {
  readonly ending: Ending
  readonly stdout: string
  readonly stderr: string
}

/** A directory with `share/`, `file` and no socket; a daemon runs in it. */
function playground(): string {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  mkdirSync(join(directory, 'share'))
  writeFileSync(join(directory, 'file'), '')
  return directory
}

async function run(command: readonly string[], args: readonly string[]): Promise<Run> {
  const directory = playground()
  const [program = '', ...before] = command
  const child = spawn(program, [...before, ...args], { cwd: directory, env: { ...process.env, NODE_OPTIONS: '' } })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const state: { status?: number | null } = {}
  const closed = new Promise<void>((done) => {
    child.once('close', (code) => {
      state.status = code
      done()
    })
  })
  const deadline = Date.now() + TIMEOUT_MS
  const socket = join(directory, 'socket')
  let served: Omit<NonNullable<Ending['served']>, 'left'> | undefined
  while (state.status === undefined && served === undefined) {
    // Held by a descriptor: virtiofsd removes the name as soon as somebody connects.
    const inode = openIfThere(socket)
    const fd = inode < 0 ? -1 : testing.connectUnix(socket)
    if (fd >= 0) {
      const frontend = new Frontend(fd)
      // Whoever answers has set itself up; one that fails at that is gone instead.
      if (answers(frontend)) {
        const { mode, gid } = fstatSync(inode)
        const pidFile = readFileSync(`${socket}.pid`, 'utf8') === `${child.pid}\n`
        served = { mode: mode & 0o7777, gid, pidFile, openFiles: limitOfOpenFiles(child.pid ?? -1) }
      } else await closed
      frontend.close()
    } else if (Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`${args.join(' ')}: neither listens nor ends\n${stderr}`)
    } else await delay(5)
    if (inode >= 0) closeSync(inode)
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
  await closed
  clearTimeout(timer)
  const left = ['socket', 'socket.pid'].filter((name) => existsSync(join(directory, name)))
  const ending: Ending =
    served === undefined
      ? { status: state.status ?? null }
      : { status: state.status ?? null, served: { ...served, left } }
  return { ending, stdout, stderr }
}

/** @returns a descriptor (O_PATH), or -1: a program that fails may take its socket away at any time */
function openIfThere(path: string): number {
  try {
    return openSync(path, O_PATH)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return -1
    throw error
  }
}

function answers(frontend: Frontend): boolean {
  try {
    frontend.askU64(Request.GET_FEATURES)
    return true
  } catch (error) {
    if (error instanceof Disconnected) return false
    throw error
  }
}

function limitOfOpenFiles(pid: number): string {
  return /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? ''
}

/** @returns how both end with the same arguments, each in a fresh directory that is its working directory */
export async function runBoth(args: readonly string[]): Promise<{ virtiofsd: Run; viewfsd: Run }> {
  const program = await virtiofsdProgram()
  const [virtiofsd, viewfsd] = await Promise.all([run([program], args), run(VIEWFSD, args)])
  return { virtiofsd, viewfsd }
}
