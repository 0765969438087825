// SPDX-License-Identifier: Apache-2.0
/** A session with a DAX window, by the window that VIEWFSD_TEST_WINDOW names. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { TEST_WINDOW } from './daemon.ts'
import { InitFlag, MappingFlag, ROOT_ID } from './fuse-abi.ts'
import { GUEST_INIT_FLAGS } from './fuse-client.ts'
import type { Frontend } from './frontend.ts'
import type { SharedMemoryWindow } from './shared-memory-window.ts'
import { type Session, type SessionOptions, startSession } from './session.ts'

/** What Linux maps at a time. */
export const RANGE = 2 << 20
export const WINDOW_BYTES = 1 << 30
export const DAX_INIT_FLAGS = GUEST_INIT_FLAGS | InitFlag.MAP_ALIGNMENT
export const { READ, WRITE } = MappingFlag

/** A session whose frontend has the window. */
export interface WindowSession extends Session {
  readonly window: SharedMemoryWindow
}

export async function startWindowSession(options: SessionOptions = {}): Promise<WindowSession> {
  const session = await startSession({
    window: TEST_WINDOW,
    initFlags: DAX_INIT_FLAGS,
    // A REMOVEMAPPING of 256 entries is a page and a bit.
    queueSize: 256,
    ...options,
    args: [`--window-size=${WINDOW_BYTES}`, ...(options.args ?? [])],
  })
  return { ...session, window: windowOf(session.frontend) }
}

export function windowOf(frontend: Frontend): SharedMemoryWindow {
  if (frontend.window === undefined) {
    throw new Error('the daemon offers no window')
  }
  return frontend.window
}

/** Bytes that tell their place: each 8 bytes hold their own offset, and `seed` in the upper half. */
export function stamped(lengthBytes: number, seed: number): Buffer {
  const words = new BigUint64Array(Math.ceil(lengthBytes / 8))
  for (let i = 0; i < words.length; i++) {
    words[i] = (BigInt(seed) << 32n) | BigInt(i * 8)
  }
  return Buffer.from(words.buffer, 0, lengthBytes)
}

/** Makes a file of stamped bytes on the host and looks it up. @returns its node id */
export function makeFile(session: Session, name: string, lengthBytes: number, seed = 1): bigint {
  const fd = openSync(join(session.daemon.sharedDir, name), 'w')
  writeSync(fd, stamped(lengthBytes, seed))
  closeSync(fd)
  return session.client.lookup(ROOT_ID, name).nodeid
}

export function hostBytes(session: Session, name: string): Buffer {
  return readFileSync(join(session.daemon.sharedDir, name))
}

/** Counters of a daemon, read from the log line that SIGUSR1 asks for. */
export interface Counters {
  /** READ requests. */
  readonly reads: number
  /** SETUPMAPPINGs, also those that a stop interrupts and that come again. */
  readonly mappingsAsked: number
  readonly mappingsSetUp: number
  readonly mappingsRemoved: number
  readonly mappingsRefused: number
  /** Live mappings; of a memory view, the driver's segments. */
  readonly live: number
  /** Ranges that came back soon after they had been given up in a window that was nearly full. */
  readonly wantedAgain: number
  readonly shmemMaps: number
  readonly shmemUnmaps: number
  readonly guardedFaults: number
  /** Requests given to the thread pool, and READs that the kernel has carried out by itself. */
  readonly pooled: number
  readonly asyncReads: number
}

export async function readCounters(session: Session): Promise<Counters> {
  const { daemon } = session
  const before = daemon.records.filter(isCounters).length
  daemon.signal('SIGUSR1')
  await daemon.until(() => daemon.records.filter(isCounters).length > before, 'the counters')
  const counters = daemon.records.filter(isCounters).at(-1)?.counters
  return {
    reads: Number(at(counters, 'fuse', 'requests', 'READ') ?? 0),
    mappingsAsked: Number(at(counters, 'fuse', 'requests', 'SETUPMAPPING') ?? 0),
    mappingsSetUp: Number(at(counters, 'fuse', 'mappingsSetUp')),
    mappingsRemoved: Number(at(counters, 'fuse', 'mappingsRemoved')),
    mappingsRefused: Number(at(counters, 'fuse', 'mappingsRefused')),
    live: Number(at(counters, 'window', 'live')),
    wantedAgain: Number(at(counters, 'window', 'wantedAgain')),
    shmemMaps: Number(at(counters, 'frontendMessages', 'shmemMap')),
    shmemUnmaps: Number(at(counters, 'frontendMessages', 'shmemUnmap')),
    guardedFaults: Number(at(counters, 'memory', 'guardedFaults')),
    pooled: Number(at(counters, 'queues', 'pooled')),
    asyncReads: Number(at(counters, 'queues', 'asyncReads')),
  }
}

function isCounters(record: unknown): record is { counters: unknown } {
  return typeof record === 'object' && record !== null && 'msg' in record && record.msg === 'counters'
}

function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value
  for (const key of path) {
    found = typeof found === 'object' && found !== null ? Reflect.get(found, key) : undefined
  }
  if (found === undefined && path[1] !== 'requests') {
    throw new Error(`the counters have no ${path.join('.')}`)
  }
  return found
}
