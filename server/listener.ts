// SPDX-License-Identifier: Apache-2.0
/** Where the daemon listens: its own socket with a PID file, or one that it has inherited. */
import { chmodSync } from 'node:fs'
import { adoptListener, groupId, listenTcp, listenUnix, lockPidFile } from '../native/index.ts'
import type { Options } from './options.ts'

export interface Listener {
  /** A socket that listens. */
  readonly fd: number
  /** Holds the PID file's lock, as long as any process has it; -1 where there is no such file. */
  readonly lock: number
  /** The control socket, which listens; -1: there is none. */
  readonly control: number
  /** Where --metrics is served, which listens; -1: nowhere. */
  readonly metrics: number
}

/** The sockets that are this daemon's to remove. */
export function socketFiles({
  socketPath,
  control,
  metrics,
}: Pick<Options, 'socketPath' | 'control' | 'metrics'>): string[] {
  const metricsPath = metrics !== undefined && 'path' in metrics ? metrics.path : undefined
  return [socketPath, control?.path, metricsPath].filter((path) => path !== undefined)
}

/** In the process that whoever started it knows, as whose it is. @throws the sockets' and the PID file's errors */
export function openListener(options: Options): Listener {
  const listener = openFrontendListener(options)
  return { ...listener, control: openControl(options), metrics: openMetricsListener(options) }
}

/** What helps where a socket can not be made, by the error's code. */
const WAYS_OUT: Readonly<Record<string, string>> = {
  ENOENT: 'make its directory first',
  ENOTDIR: 'make its directory first',
  EACCES: 'name a directory that this user may write to',
  EPERM: 'name a directory that this user may write to',
  EROFS: 'name a directory that can be written to',
  EAFNOSUPPORT: 'its unit forbids networks: take a path, or the drop-in of doc/metrics.md',
  ENAMETOOLONG: "a socket's path has 107 bytes at most: name a shorter one",
  EADDRINUSE: 'somebody listens there already: name another, or end them',
  EADDRNOTAVAIL: 'this host has no such address: name one that "ip address" shows',
  EEXIST: 'something that is no socket is there: remove it, or name another',
}

/** @param option with its value */
function unavailable(option: string, error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error)
  const wayOut = error instanceof Error && 'code' in error ? WAYS_OUT[String(error.code)] : undefined
  return new Error(`${option}: ${reason}${wayOut === undefined ? '' : `; ${wayOut}`}`, { cause: error })
}

function openControl({ control }: Options): number {
  if (control === undefined) return -1
  try {
    const fd = listenUnix(control.path)
    chmodSync(control.path, 0o600)
    return fd
  } catch (error) {
    if (!control.required) return -1
    throw unavailable(`--control=${control.path}`, error)
  }
}

function openMetricsListener({ metrics }: Options): number {
  if (metrics === undefined) return -1
  try {
    return 'path' in metrics ? listenUnix(metrics.path) : listenTcp(metrics.host, metrics.port)
  } catch (error) {
    const where = 'path' in metrics ? metrics.path : `${metrics.host}:${metrics.port}`
    throw unavailable(`--metrics=${where}`, error)
  }
}

function openFrontendListener({ socketPath, socketGroup, listenFd }: Options): Pick<Listener, 'fd' | 'lock'> {
  if (socketPath === undefined) {
    if (listenFd === undefined) throw new Error('neither a socket nor a descriptor to listen on')
    try {
      adoptListener(listenFd)
    } catch (error) {
      throw new Error(
        `--fd=${listenFd}: not a socket that listens; whoever starts the daemon must open it and leave it open`,
        { cause: error },
      )
    }
    return { fd: listenFd, lock: -1 }
  }
  const group = socketGroup === undefined ? undefined : groupId(socketGroup)
  if (group === -1)
    throw new Error(`--socket-group=${socketGroup}: there is no such group; "getent group" shows which there are`)
  try {
    // Stays locked until the process ends, and is left then: removing it would let two processes lock two files.
    const lock = lockPid(`${socketPath}.pid`)
    return { fd: listenUnix(socketPath, group), lock }
  } catch (error) {
    throw unavailable(`--socket-path=${socketPath}`, error)
  }
}

function lockPid(path: string): number {
  try {
    return lockPidFile(path)
  } catch (error) {
    const locked = error instanceof Error && 'code' in error && error.code === 'EAGAIN'
    throw locked
      ? new Error(`${path}: another daemon serves this socket; end it, or name another`, { cause: error })
      : error
  }
}
