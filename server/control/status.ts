// SPDX-License-Identifier: Apache-2.0
/** What `status` and `requests` answer. */
import type { RequestInProgress } from '../../native/index.ts'
import { opcodeName } from '../fuse/abi.ts'
import type { FuseSession } from '../fuse/session.ts'
import type { Metrics } from '../metrics.ts'
import type { Options } from '../options.ts'

export interface Status {
  readonly version: string
  readonly uptimeSeconds: number
  readonly sharedDir: string
  readonly socketPath: string | null
  readonly tag: string | null
  readonly frontend: { readonly connected: boolean; readonly connectedSeconds: number | null }
  /** Of the guest; null before FUSE_INIT and after its end. */
  readonly session: {
    readonly fuseMinor: number
    /** Of struct fuse_init_out, in hexadecimal. */
    readonly flags: string
    readonly flags2: string
    /** It may set up mappings. */
    readonly window: boolean
    /** It is mounted with dax=always. */
    readonly daxForEveryFile: boolean
  } | null
  readonly window: Metrics['window']
  readonly daxPolicy: Options['daxPolicy']
  readonly queueThreads: number
  /** That a queue thread is at work on; not those that wait for a lock or a lease. */
  readonly activeRequests: number
  /** With --on-crash=restart; null without. */
  readonly servers: {
    /** How many servers there were before this one. */
    readonly restarts: number
    /** What ended the last one of them: a signal's name, or `upgrade`; null before the first restart. */
    readonly last: { readonly cause: string; readonly secondsAgo: number } | null
    /** How many of them had crashed within the minute before this one was started. */
    readonly crashes: number
    /** Those were too many: all requests get EIO. */
    readonly refusing: boolean
  } | null
  readonly logLevel: string
}

/** A request that a queue thread is at work on. */
export interface ActiveRequest {
  readonly opcode: string
  readonly nodeid: number
  /** Of that, from the shared directory on; null where it is not known, or could only be found by waiting. */
  readonly path: string | null
  readonly queueThread: number
  /** ISO 8601. */
  readonly since: string
  readonly milliseconds: number
}

export function sessionStatus(session: FuseSession): Status['session'] {
  if (!session.initialized) return null
  return {
    fuseMinor: session.minor,
    flags: hexadecimal(session.flags),
    flags2: hexadecimal(session.flags2),
    window: session.hasWindow,
    daxForEveryFile: session.daxForEveryFile,
  }
}

function hexadecimal(word: number): string {
  return `0x${(word >>> 0).toString(16)}`
}

/**
 * @param now milliseconds since the epoch
 * @param paths by nodeid
 */
export function activeRequest(
  request: RequestInProgress,
  now: number,
  paths: ReadonlyMap<number, string | null>,
): ActiveRequest {
  const { opcode, nodeid, worker, milliseconds } = request
  return {
    opcode: opcodeName(opcode),
    nodeid,
    path: paths.get(nodeid) ?? null,
    queueThread: worker,
    since: new Date(now - milliseconds).toISOString(),
    milliseconds: Math.round(milliseconds),
  }
}
