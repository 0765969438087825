// SPDX-License-Identifier: Apache-2.0
/** `viewfsdctl dax`: is DAX in use, and may this file be in the window? */
import { statfsSync, statSync, type Stats } from 'node:fs'
import { VIEWABLE_TYPES } from '../../dax/viewable.ts'
import type { Metrics } from '../../metrics.ts'
import type { Status } from '../status.ts'
import { windowText } from './screens.ts'
import { bytes, printable } from './units.ts'

export interface DaxReport {
  /** The guest has mapped something, now or before. */
  readonly inUse: boolean
  readonly window: Metrics['window']
  /** By guests since the daemon started. */
  readonly mappings: {
    readonly setUp: number
    readonly writable: number
    readonly refused: number
    readonly removed: number
  }
  /** Of the path that was asked about. */
  readonly file?: { readonly path: string } & Judgement
}

/** A file on the host, as far as the policy looks at it. */
export interface Candidate {
  readonly regular: boolean
  readonly directory: boolean
  readonly sizeBytes: number
  readonly ageSeconds: number
  /** f_type of statfs(2). */
  readonly fileSystem: number
}

export function daxReport(status: Status, counters: Metrics, path: string | undefined): DaxReport {
  const { mappingsSetUp, mappingsSetUpWritable, mappingsRefused, mappingsRemoved } = counters.fuse
  return {
    inUse: status.session?.window === true && counters.window.live > 0,
    window: counters.window,
    mappings: {
      setUp: mappingsSetUp,
      writable: mappingsSetUpWritable,
      refused: mappingsRefused,
      removed: mappingsRemoved,
    },
    ...(path === undefined ? {} : { file: { path, ...judgeDax(status, look(path)) } }),
  }
}

function look(path: string): Candidate {
  const stats: Stats = statSync(path)
  return {
    regular: stats.isFile(),
    directory: stats.isDirectory(),
    sizeBytes: stats.size,
    ageSeconds: (Date.now() - stats.mtimeMs) / 1000,
    fileSystem: statfsSync(path).type,
  }
}

interface Judgement {
  readonly allowed: boolean
  readonly reason: string
}

function no(reason: string): Judgement {
  return { allowed: false, reason }
}

/** Whether the guest that is there may see this file through the window, in the order in which it is decided. */
export function judgeDax(status: Status, candidate: Candidate): Judgement {
  const { session, window, daxPolicy } = status
  if (window.kind === 'none') return no('the daemon has no window')
  if (!window.active) return no('the frontend shows no window')
  if (session === null) return no('no guest has the directory mounted')
  if (!session.window) return no('this guest does not use the window: it is mounted with dax=never, or knows none')
  if (window.kind === 'memory-view' && !VIEWABLE_TYPES.includes(candidate.fileSystem)) {
    return no('a memory view can not show files of this file system')
  }
  if (candidate.directory) return { allowed: true, reason: 'a directory: ask about its files' }
  if (!candidate.regular) return no('only regular files are in the window')
  if (session.daxForEveryFile) return { allowed: true, reason: 'the guest is mounted with dax=always' }
  if (!daxPolicy.enabled) return no('--dax-policy=never; the guest is not mounted with dax=always')
  if (candidate.sizeBytes < daxPolicy.minSizeBytes) {
    return no(`it has ${bytes(candidate.sizeBytes)}; --dax-policy wants ${bytes(daxPolicy.minSizeBytes)}`)
  }
  if (candidate.ageSeconds < daxPolicy.minAgeSeconds) {
    return no(`its data has changed in the last ${daxPolicy.minAgeSeconds} s, see --dax-policy`)
  }
  return { allowed: true, reason: 'by --dax-policy; the guest asks when it first looks the file up' }
}

export function daxScreen({ inUse, window, mappings, file }: DaxReport): string {
  const lines = [
    `DAX is ${inUse ? '' : 'not '}in use.`,
    `window: ${windowText(window)}${window.faults === undefined ? '' : `, ${window.faults} faults served`}`,
    `mappings: ${mappings.setUp} set up (${mappings.writable} writable), ${mappings.removed} removed, ${mappings.refused} refused`,
  ]
  if (file !== undefined) lines.push(`${printable(file.path)}: ${file.allowed ? 'yes' : 'no'}, ${file.reason}`)
  return `${lines.join('\n')}\n`
}
