// SPDX-License-Identifier: Apache-2.0
/** What a daemon with --on-crash=restart has of the host at one instant, and what of that has grown between two of them. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { childrenOf } from '../../server/integration/harness/serving-process.ts'
import type { Viewfsd } from '../guest/daemon.ts'

const CGROUPS = '/sys/fs/cgroup'

/** By the names of ARCHITECTURE.md. */
export type Role = 'launcher' | 'first' | 'starter' | 'server' | 'keeper'

export interface ProcessSample {
  readonly descriptors: number
  readonly threads: number
  /** Anonymous memory, and what of all memory is its own share. */
  readonly anonKiB: number
  readonly pssKiB: number
}

export interface Sample {
  /** Of the whole daemon. */
  readonly processes: number
  readonly roles: Readonly<Record<Role, ProcessSample>>
  /** Of the view; the guest has given up all ranges. */
  readonly segments: number
  readonly sinkPages: number
  /** The driver's mappings of files, in the process that has opened the view: anchor.c. */
  readonly anchors: number
  /** Shared memory that the servers have touched: state and tables. */
  readonly sharedKiB: number
  /** What the kernel has allocated for the daemon's processes and can't take back: the driver's objects, among others. */
  readonly kernelKiB: number
  /** That this server has served. */
  readonly requests: number
}

/** How much more there may be, in the sample's units; 0 where not named. */
export type Margins = Readonly<Record<string, number>>

function descendants(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendants(child)])
}

function sizeOf(pid: number, file: 'status' | 'smaps_rollup', field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'))?.[1] ?? 0)
}

function processSample(pid: number): ProcessSample {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
    anonKiB: sizeOf(pid, 'status', 'RssAnon'),
    pssKiB: sizeOf(pid, 'smaps_rollup', 'Pss'),
  }
}

/** A server or its keeper. */
function isNode(pid: number): boolean {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)) === basename(process.execPath)
  } catch {
    return false
  }
}

/** The five processes; undefined while a server is being replaced. What a server before has left may be there besides. */
function processesOf(daemon: Viewfsd): Record<Role, number> | undefined {
  const launcher = daemon.process.pid ?? 0
  const [first = 0] = childrenOf(launcher)
  const children = childrenOf(first)
  // The youngest one; its keeper is a child of its own.
  const server = children.findLast(isNode) ?? 0
  const keeper = childrenOf(server).find(isNode) ?? 0
  const starter = children.find((pid) => !isNode(pid)) ?? 0
  return [first, server, keeper, starter].includes(0) ? undefined : { launcher, first, starter, server, keeper }
}

/** Puts a daemon's processes, and all that they start, into a control group of their own. */
export function watchDaemon(name: string, daemon: Viewfsd): void {
  const group = join(CGROUPS, name)
  writeFileSync(join(CGROUPS, 'cgroup.subtree_control'), '+memory')
  mkdirSync(group)
  for (const pid of [daemon.process.pid ?? 0, ...descendants(daemon.process.pid ?? 0)])
    writeFileSync(join(group, 'cgroup.procs'), String(pid))
}

/** @returns undefined while a server is being replaced */
export async function takeSample(name: string, daemon: Viewfsd): Promise<Sample | undefined> {
  const pids = processesOf(daemon)
  if (pids === undefined) return undefined
  const counters = await daemon.counters()
  const memory = readFileSync(join(CGROUPS, name, 'memory.stat'), 'utf8')
  const bytes = (field: string): number => Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(memory)?.[1] ?? 0)
  const maps = readFileSync(`/proc/${pids.first}/maps`, 'utf8').split('\n')
  const { launcher, first, starter, server, keeper } = pids
  return {
    processes: 1 + descendants(launcher).length,
    roles: {
      launcher: processSample(launcher),
      first: processSample(first),
      starter: processSample(starter),
      server: processSample(server),
      keeper: processSample(keeper),
    },
    segments: counters.get('window.live') ?? -1,
    sinkPages: counters.get('window.sinkPages') ?? -1,
    anchors: maps.filter((line) => / ---s /.test(line)).length,
    sharedKiB: bytes('shmem') / 1024,
    kernelKiB: (bytes('slab_unreclaimable') + bytes('vmalloc')) / 1024,
    requests: counters.get('fuse.requestsTotal') ?? 0,
  }
}

/** The numbers of a sample that must not grow, by their path in it. */
export function flat(sample: Sample): Map<string, number> {
  const numbers = new Map<string, number>()
  for (const [name, value] of Object.entries(sample))
    if (typeof value === 'number' && name !== 'requests') numbers.set(name, value)
  for (const [role, { descriptors, threads, anonKiB }] of Object.entries(sample.roles)) {
    numbers.set(`${role}.descriptors`, descriptors)
    numbers.set(`${role}.threads`, threads)
    numbers.set(`${role}.anonKiB`, anonKiB)
  }
  return numbers
}

/** What is more than it was, by more than its margin; counts must not be fewer, either. */
export function growth(before: Sample, after: Sample, margins: Margins): string[] {
  const now = flat(after)
  return [...flat(before)].flatMap(([name, was]) => {
    const is = now.get(name) ?? 0
    const margin = margins[name]
    const same = margin === undefined ? is === was : is <= was + margin
    return same ? [] : [`${name}: ${Math.round(was)}, then ${Math.round(is)} (at most ${margin ?? 0} more)`]
  })
}
