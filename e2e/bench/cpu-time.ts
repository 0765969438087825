// SPDX-License-Identifier: Apache-2.0
/**
 * Whose CPU time a guest's work costs the nested host. With one CPU there all of it is a wait of the guest's, so that a daemon that
 * needed none could make the work quicker by its own share and no more.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { Guest } from '../guest/guest.ts'
import type { Counters, FsDaemon } from '../guest/daemon.ts'

/** CPU time in ns, since the start of each; `wall` is the clock. The host has no other guest that runs. */
export interface CpuTime {
  readonly wall: number
  readonly vcpu: number
  /** QEMU's other threads: its main loop raises INTx. */
  readonly qemu: number
  readonly daemon: number
  /** How often the vCPU has left the guest; not a time. */
  readonly exits: number
}

/** Where the time of one job went, from a time when it was running to another. */
export interface TimeSample extends CpuTime {
  /** Of the window, against the file's size; undefined without a window. */
  readonly windowFraction?: number
  /** Mapping did nothing (null-view.c). */
  readonly nullView?: boolean
  /** Blocks that fio read meanwhile. */
  readonly reads: number
  /** Requests that viewfsd served meanwhile, by opcode. */
  readonly requests: Readonly<Record<string, number>>
}

function schedstat(task: string): number {
  // Time on the CPU, time on its queue, slices: Documentation/scheduler/sched-stats.rst.
  return Number(readFileSync(`${task}/schedstat`, 'latin1').split(' ')[0])
}

/** The time of each thread, by its number. A thread that ends meanwhile is left out. */
function threadTimes(pid: number): Map<number, number> {
  const times = new Map<number, number>()
  for (const tid of readdirSync(`/proc/${pid}/task`))
    try {
      times.set(Number(tid), schedstat(`/proc/${pid}/task/${tid}`))
    } catch {
      // It has ended.
    }
  return times
}

/** A process and what descends from it. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
    readFileSync(`/proc/${pid}/task/${tid}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(family)]
}

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}

/** What a daemon has spent until now, with the processes that it has started. */
export function daemonTime(daemon: FsDaemon): number {
  return sum(family(daemon.process.pid ?? 0).map((pid) => sum(threadTimes(pid).values())))
}

/** What has been spent until now. */
export async function cpuTime(guest: Guest, daemon: FsDaemon): Promise<CpuTime> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- CpuInfoFast of QEMU's qapi/machine.json
  const cpus = (await guest.qmp.command('query-cpus-fast')) as readonly { readonly 'thread-id': number }[]
  const qemu = threadTimes(guest.process.pid ?? 0)
  const vcpu = sum(cpus.map((cpu) => qemu.get(cpu['thread-id']) ?? 0))
  return {
    wall: Number(process.hrtime.bigint()),
    vcpu,
    qemu: sum(qemu.values()) - vcpu,
    daemon: daemonTime(daemon),
    exits: Number(readFileSync('/sys/kernel/debug/kvm/exits', 'latin1')),
  }
}

export function cpuTimeBetween(before: CpuTime, after: CpuTime): CpuTime {
  return {
    wall: after.wall - before.wall,
    vcpu: after.vcpu - before.vcpu,
    qemu: after.qemu - before.qemu,
    daemon: after.daemon - before.daemon,
    exits: after.exits - before.exits,
  }
}

/** Requests by opcode of viewfsd's counters. */
export function requestsBetween(before: Counters, after: Counters): Record<string, number> {
  const prefix = 'fuse.requests.'
  return Object.fromEntries(
    [...after]
      .map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const)
      .filter(([name, count]) => name.startsWith(prefix) && count > 0)
      .map(([name, count]) => [name.slice(prefix.length), count]),
  )
}

/** One row a sample: what a block read costs in ms, and whose time that is. */
export function timeTable(samples: readonly TimeSample[]): string {
  const lines = [
    '| window | a read, ms | requests for it | exits | vCPU | QEMU beside it | viewfsd | the rest |',
    '| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |',
  ]
  for (const sample of samples) {
    const { wall, reads } = sample
    const share = (time: number) => `${((100 * time) / wall).toFixed(1)} %`
    const size = sample.windowFraction === undefined ? 'none' : `${sample.windowFraction} x file`
    const window = sample.nullView ? `${size}, null view` : size
    const requests = Object.entries(sample.requests)
      .filter(([, count]) => count / reads >= 0.005)
      .map(([name, count]) => `${(count / reads).toFixed(2)} ${name}`)
    const rest = wall - sample.vcpu - sample.qemu - sample.daemon
    const cells = [window, (wall / reads / 1e6).toFixed(2), requests.join(', '), (sample.exits / reads).toFixed(0)]
    lines.push(
      `| ${[...cells, share(sample.vcpu), share(sample.qemu), share(sample.daemon), share(rest)].join(' | ')} |`,
    )
  }
  return `${lines.join('\n')}\n`
}
