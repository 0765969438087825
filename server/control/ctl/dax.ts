// SPDX-License-Identifier: Apache-2.0
/** `viewfsdctl dax`: is DAX in use, and may this file be in the window? */
import { readdirSync, realpathSync, statfsSync, statSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { VIEWABLE_TYPES } from '../../dax/viewable.ts'
import type { MappedRange, WindowUse } from '../../../native/index.ts'
import type { Metrics } from '../../metrics.ts'
import type { FileReport, FilesReport } from '../files.ts'
import type { Status } from '../status.ts'
import { windowText } from './screens.ts'
import { bytes, printable } from './units.ts'

export interface DaxReport {
  /** The guest has mapped something, now or before. */
  readonly inUse: boolean
  readonly window: Metrics['window']
  /** Of all of the window, where it is a memory view. */
  readonly use?: WindowUse
  /** By guests since the daemon started. */
  readonly mappings: {
    readonly setUp: number
    readonly writable: number
    readonly refused: number
    readonly removed: number
  }
  /** Of the path that was asked about. */
  readonly file?: { readonly path: string } & Judgement
  /** The files of a directory that was asked about, not of those below it: how many may be in the window, or not, and why. */
  readonly verdicts?: readonly (Judgement & { readonly files: number })[]
  /** What is mapped now, of the path that was asked about or of all. */
  readonly mapped: readonly FileReport[]
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

export function daxReport(
  status: Status,
  counters: Metrics,
  { files, use }: FilesReport,
  path: string | undefined,
): DaxReport {
  const { mappingsSetUp, mappingsSetUpWritable, mappingsRefused, mappingsRemoved } = counters.fuse
  return {
    inUse: status.session?.window === true && counters.window.live > 0,
    window: counters.window,
    ...(use === undefined ? {} : { use }),
    mappings: {
      setUp: mappingsSetUp,
      writable: mappingsSetUpWritable,
      refused: mappingsRefused,
      removed: mappingsRemoved,
    },
    ...(path === undefined ? {} : about(status, path)),
    mapped: mappedOf(files, status.sharedDir, path),
  }
}

function about(status: Status, path: string): Pick<DaxReport, 'file' | 'verdicts'> {
  const candidate = look(path)
  const file = { path, ...judgeDax(status, candidate) }
  return candidate.directory ? { file, verdicts: verdictsOn(status, path) } : { file }
}

function verdictsOn(status: Status, directory: string): NonNullable<DaxReport['verdicts']> {
  const verdicts = new Map<string, Judgement & { files: number }>()
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const judgement = judgeDax(status, look(join(directory, entry.name)), brief)
    const known = verdicts.get(judgement.reason)
    if (known === undefined) verdicts.set(judgement.reason, { ...judgement, files: 1 })
    else known.files++
  }
  return [...verdicts.values()]
}

/** Those of the path, or below it, that have something in the window. */
function mappedOf(files: readonly FileReport[], sharedDir: string, path: string | undefined): FileReport[] {
  const mapped = files.filter(({ rangeCount }) => rangeCount > 0)
  if (path === undefined) return mapped
  const { dev, ino } = statSync(path)
  const root = realpathSync(sharedDir)
  const real = realpathSync(path)
  const below = real === root ? '/' : real.startsWith(`${root}/`) ? `${real.slice(root.length)}/` : undefined
  return mapped.filter(
    (file) =>
      (file.device === dev && file.inode === ino) || (below !== undefined && file.path?.startsWith(below) === true),
  )
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

function inFull(sizeBytes: number, wanted: number): string {
  return `it has ${bytes(sizeBytes)}; --dax-policy wants ${bytes(wanted)}`
}

/** The same for all that are too small. */
function brief(_sizeBytes: number, wanted: number): string {
  return `it is smaller than the ${bytes(wanted)} that --dax-policy wants`
}

/** Whether the guest that is there may see this file through the window, in the order in which it is decided. */
export function judgeDax(status: Status, candidate: Candidate, tooSmall = inFull): Judgement {
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
    return no(tooSmall(candidate.sizeBytes, daxPolicy.minSizeBytes))
  }
  if (candidate.ageSeconds < daxPolicy.minAgeSeconds) {
    return no(`its data has changed in the last ${daxPolicy.minAgeSeconds} s, see --dax-policy`)
  }
  return { allowed: true, reason: 'by --dax-policy; the guest asks when it first looks the file up' }
}

/** Of each file; with --json all that the daemon tells. */
const MOST_RANGES_SHOWN = 16

function hex(offset: number): string {
  return `0x${offset.toString(16)}`
}

/** What the frontend has of it, in front of which a comma goes. */
function useText(use: WindowUse | undefined): string {
  if (use === undefined) return ''
  const faults = `, ${use.faults} ${use.faults === 1 ? 'fault' : 'faults'}`
  return `${faults}, ${bytes(use.mappedBytes)} in use, ${bytes(use.hugeBytes)} by pages of 2 MiB`
}

/** Of all ranges that are told of; undefined: none tells. */
function sumOf(ranges: readonly MappedRange[]): WindowUse | undefined {
  const uses = ranges.flatMap(({ use }) => (use === undefined ? [] : [use]))
  if (uses.length === 0) return undefined
  return {
    faults: uses.reduce((sum, { faults }) => sum + faults, 0),
    mappedBytes: uses.reduce((sum, { mappedBytes }) => sum + mappedBytes, 0),
    hugeBytes: uses.reduce((sum, { hugeBytes }) => sum + hugeBytes, 0),
  }
}

export function daxScreen({ inUse, window, use, mappings, file, verdicts = [], mapped }: DaxReport): string {
  const lines = [
    `DAX is ${inUse ? '' : 'not '}in use.`,
    `window: ${windowText(window)}${window.faults === undefined ? '' : `, ${window.faults} faults served`}`,
    ...(use === undefined
      ? []
      : [`in use: ${bytes(use.mappedBytes)} in the frontend's page tables, ${bytes(use.hugeBytes)} by pages of 2 MiB`]),
    `mappings: ${mappings.setUp} set up (${mappings.writable} writable), ${mappings.removed} removed, ${mappings.refused} refused`,
  ]
  if (file !== undefined) lines.push(`${printable(file.path)}: ${file.allowed ? 'yes' : 'no'}, ${file.reason}`)
  for (const { files, allowed, reason } of verdicts) {
    lines.push(`  ${files} ${files === 1 ? 'file' : 'files'}: ${allowed ? 'yes' : 'no'}, ${reason}`)
  }
  for (const { nodeid, path, rangeCount, ranges } of mapped) {
    lines.push(
      `${printable(path ?? `nodeid ${nodeid}`)}: ${rangeCount} ${rangeCount === 1 ? 'range' : 'ranges'} mapped${useText(sumOf(ranges))}`,
    )
    for (const { fileOffset, bytes: length, windowOffset, writable, use: part } of ranges.slice(0, MOST_RANGES_SHOWN)) {
      const access = writable ? 'read-write' : 'read-only'
      lines.push(`  ${hex(fileOffset)}-${hex(fileOffset + length)} at ${hex(windowOffset)}, ${access}${useText(part)}`)
    }
    const left = rangeCount - Math.min(ranges.length, MOST_RANGES_SHOWN)
    if (left > 0) lines.push(`  and ${left} more`)
  }
  return `${lines.join('\n')}\n`
}
