// SPDX-License-Identifier: Apache-2.0
/**
 * Into the sandbox, first half: the process gives way to the launcher (native/sandbox/launcher/), which makes the namespaces,
 * bounds the capabilities and starts this program again. The second half is doors.ts.
 */
import { createRequire } from 'node:module'
import { sandbox } from '../../native/index.ts'
import { keptCapabilities } from './capabilities.ts'
import type { IdRange, SandboxOptions } from './options.ts'

const STATE = 'VIEWFSD_LAUNCHED'
const LISTENER = 'VIEWFSD_LISTENER'
const SERVERS = 'VIEWFSD_SERVERS'

/** What the first process has for each server: native/sandbox/launcher/servers.h. */
export interface LaunchedServer {
  /** The shared memory object of the state. */
  readonly state: number
  /** The end of the channel that is this server's keeper's. */
  readonly keeper: number
  /** The channel to the predecessor's keeper; -1: there is none. */
  readonly predecessor: number
  /** The first server's descriptor of the shared directory, O_PATH; -1 without a sandbox. */
  readonly share: number
  /** The device of the memory view; -1 where it can't be had. */
  readonly view: number
  /** What ended the predecessor. */
  readonly signal: number
  /** How many have been ended by any other than SIGKILL within the last minute. */
  readonly crashes: number
  /** They are too many: nothing is to be made worse by serving on. */
  readonly refuses: boolean
  /** The predecessor gave way to the program that is installed. */
  readonly upgrade: boolean
  /** How many there were. */
  readonly predecessors: number
  /** Seconds since the first one was started. */
  readonly age: number
}

/** What the launcher has left behind for the program. */
export interface Launched {
  /** The shared directory, O_PATH; -1 without a sandbox. */
  readonly root: number
  /** /proc/self/fd, O_PATH; -1 without a sandbox. */
  readonly procFds: number
  /** The channel to the launcher; -1 without a sandbox. */
  readonly control: number
  /** The socket that the process before it has made. */
  readonly listener: number
  /** The control socket that it has made; -1: none. */
  readonly controlListener: number
  /** The one for --metrics; -1: none. */
  readonly metricsListener: number
  /** The launcher has made a user namespace. */
  readonly userNamespace: boolean
  /** Where a server that is ended by a signal is followed by another. */
  readonly server: LaunchedServer | undefined
}

/** @returns what the launcher says, or undefined where it has not run yet. Once per process. */
export function takeLaunched(): Launched | undefined {
  const state = process.env[STATE]
  if (state === undefined) return undefined
  const [listener = Number.NaN, controlListener = Number.NaN, metricsListener = Number.NaN] = (
    process.env[LISTENER] ?? ''
  )
    .split(',')
    .map(Number)
  delete process.env[STATE]
  delete process.env[LISTENER]
  const [root = Number.NaN, procFds = Number.NaN, control = Number.NaN, userNamespace = Number.NaN] = state
    .split(',')
    .map(Number)
  if (![root, procFds, control, userNamespace, listener, controlListener, metricsListener].every(Number.isInteger)) {
    throw new Error(`${STATE}=${state}: not the launcher's`)
  }
  if (procFds >= 0) sandbox.useProcFds(procFds)
  return {
    root,
    procFds,
    control,
    listener,
    controlListener,
    metricsListener,
    userNamespace: userNamespace === 1,
    server: takeServer(),
  }
}

function takeServer(): LaunchedServer | undefined {
  const text = process.env[SERVERS]
  if (text === undefined) return undefined
  delete process.env[SERVERS]
  const [state = -1, keeper = -1, predecessor = -1, share = -1, view = -1, ...past] = text.split(',').map(Number)
  const [signal = 0, crashes = 0, refuses = 0, upgrade = 0, predecessors = 0, age = 0] = past
  return {
    state,
    keeper,
    predecessor,
    share,
    view,
    signal,
    crashes,
    refuses: refuses === 1,
    upgrade: upgrade === 1,
    predecessors,
    age,
  }
}

/** Whether these options need the launcher. */
export function needsLaunch(options: SandboxOptions): boolean {
  return (
    options.onCrash === 'restart' ||
    options.sandbox !== 'none' ||
    options.seccomp !== 'none' ||
    options.modcaps.length > 0
  )
}

export interface LaunchRequest {
  readonly options: SandboxOptions
  /** Absolute. */
  readonly sharedDir: string
  /** A memory view may be wanted. */
  readonly view: boolean
  /** Removed by the launcher when the daemon, which can't, has ended. */
  readonly cleanup: readonly string[]
  /** A socket that listens. */
  readonly listener: number
  /** Others, or -1. */
  readonly controlListener: number
  readonly metricsListener: number
  /** What has to stay open besides, and 0 to 2. */
  readonly descriptors: readonly number[]
  /** Of the program: the script and its arguments. */
  readonly argv: readonly string[]
}

/** Does not return. @throws where the launcher can't be started */
export function launch(request: LaunchRequest): never {
  const { options } = request
  const capabilities = keptCapabilities(options)
  const argv = [
    createRequire(import.meta.url).resolve('#launcher'),
    `--sandbox=${options.sandbox}`,
    `--seccomp=${options.seccomp}`,
    `--capabilities=${capabilities.toString(16)}`,
    `--on-crash=${options.onCrash}`,
    `--view=${request.view ? 'on' : 'off'}`,
    `--shared-dir=${request.sharedDir}`,
    `--mount=${options.readonly ? 'ro' : 'rw'}`,
    ...options.uidMap.map((range) => `--uid-map=${format(range)}`),
    ...options.gidMap.map((range) => `--gid-map=${format(range)}`),
    ...request.cleanup.map((path) => `--cleanup=${path}`),
    '--',
    process.execPath,
    // Else each new thread's V8 reads /proc/self/maps and maps the program that it finds there once more, as code.
    '--no-short-builtin-calls',
    ...process.execArgv,
    ...request.argv,
  ]
  return sandbox.executeProgram(
    argv,
    Object.entries({
      ...process.env,
      [LISTENER]: [request.listener, request.controlListener, request.metricsListener].join(','),
    }).map(([name, value]) => `${name}=${value ?? ''}`),
    [0, 1, 2, request.listener, ...request.descriptors],
  )
}

function format({ inside, outside, count }: IdRange): string {
  return `${inside}:${outside}:${count}`
}
