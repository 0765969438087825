// SPDX-License-Identifier: Apache-2.0
/** Turns the samples of the workload benchmark into rows with medians, and those into Markdown tables. */
import type { Bars } from './chart.ts'
import { median } from './report.ts'
import { type Column, COLUMNS } from './workloads.ts'

/** Requests by opcode. */
export type Requests = Readonly<Record<number, number>>

export interface WorkloadSample {
  readonly column: Column
  readonly workload: string
  readonly seconds: number
  /** CPU time of the daemon. */
  readonly daemonSeconds: number
  readonly requests: Requests
}

export interface WorkloadCell {
  readonly seconds: number
  readonly daemonSeconds: number
  readonly total: number
  readonly requests: Requests
}

export interface WorkloadRow {
  readonly workload: string
  readonly cells: Readonly<Partial<Record<Column, WorkloadCell>>>
}

/** include/uapi/linux/fuse.h */
const OPCODES: Readonly<Record<number, string>> = {
  1: 'LOOKUP',
  3: 'GETATTR',
  4: 'SETATTR',
  5: 'READLINK',
  6: 'SYMLINK',
  8: 'MKNOD',
  9: 'MKDIR',
  10: 'UNLINK',
  11: 'RMDIR',
  12: 'RENAME',
  13: 'LINK',
  14: 'OPEN',
  15: 'READ',
  16: 'WRITE',
  17: 'STATFS',
  18: 'RELEASE',
  20: 'FSYNC',
  21: 'SETXATTR',
  22: 'GETXATTR',
  23: 'LISTXATTR',
  25: 'FLUSH',
  26: 'INIT',
  27: 'OPENDIR',
  28: 'READDIR',
  29: 'RELEASEDIR',
  30: 'FSYNCDIR',
  35: 'CREATE',
  44: 'READDIRPLUS',
  45: 'RENAME2',
  46: 'LSEEK',
  47: 'COPY_FILE_RANGE',
  52: 'STATX',
}

/** What the kernel's histogram of fuse_request_send by opcode says. */
export function parseHistogram(text: string): Requests {
  const requests: Record<number, number> = {}
  for (const [, opcode, count] of text.matchAll(/\{ opcode:\s*(\d+) \} hitcount:\s*(\d+)/g))
    requests[Number(opcode)] = Number(count)
  return requests
}

const sum = (requests: Requests): number => Object.values(requests).reduce((total, count) => total + count, 0)

function cellOf(samples: readonly WorkloadSample[]): WorkloadCell {
  const opcodes = new Set(samples.flatMap(({ requests }) => Object.keys(requests).map(Number)))
  const requests: Record<number, number> = {}
  for (const opcode of [...opcodes].toSorted((a, b) => a - b))
    requests[opcode] = median(samples.map((sample) => sample.requests[opcode] ?? 0))
  return {
    seconds: median(samples.map((sample) => sample.seconds)),
    daemonSeconds: median(samples.map((sample) => sample.daemonSeconds)),
    total: median(samples.map((sample) => sum(sample.requests))),
    requests,
  }
}

/** A row for each workload, in the order in which they come. */
export function workloadRows(samples: readonly WorkloadSample[]): WorkloadRow[] {
  const names = [...new Set(samples.map(({ workload }) => workload))]
  return names.map((workload) => {
    const cells: Partial<Record<Column, WorkloadCell>> = {}
    for (const column of COLUMNS) {
      const own = samples.filter((sample) => sample.column === column && sample.workload === workload)
      if (own.length > 0) cells[column] = cellOf(own)
    }
    return { workload, cells }
  })
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`
}

function ratio(own: number | undefined, other: number | undefined): string {
  return own === undefined || other === undefined || other === 0 ? '' : (own / other).toFixed(2)
}

/** Requests, seconds, and CPU seconds of the daemon, and viewfsd's as a part of virtiofsd's. */
export function workloadTable(rows: readonly WorkloadRow[]): string {
  const columns = ['requests', 'seconds', "daemon's CPU"].flatMap((what) => [`viewfsd, ${what}`, 'virtiofsd', 'ratio'])
  const head = ['workload', ...columns]
  let table = line(head) + line(['---', ...head.slice(1).map(() => '---:')])
  for (const { workload, cells } of rows) {
    const { viewfsd, virtiofsd } = cells
    table += line([
      workload,
      String(viewfsd?.total ?? ''),
      String(virtiofsd?.total ?? ''),
      ratio(viewfsd?.total, virtiofsd?.total),
      viewfsd?.seconds.toFixed(2) ?? '',
      virtiofsd?.seconds.toFixed(2) ?? '',
      ratio(viewfsd?.seconds, virtiofsd?.seconds),
      viewfsd?.daemonSeconds.toFixed(2) ?? '',
      virtiofsd?.daemonSeconds.toFixed(2) ?? '',
      ratio(viewfsd?.daemonSeconds, virtiofsd?.daemonSeconds),
    ])
  }
  return table
}

export const WORKLOAD_COLOURS: Readonly<Record<string, string>> = { requests: '#9ec5ab', time: '#0b6e4f' }

/** How many times viewfsd's requests and time virtiofsd's are. */
export function workloadBars(rows: readonly WorkloadRow[]): Bars[] {
  return rows.flatMap(({ workload, cells: { viewfsd, virtiofsd } }) =>
    viewfsd === undefined || virtiofsd === undefined
      ? []
      : [
          {
            name: workload,
            cells: [
              { series: 'requests', ratio: virtiofsd.total / viewfsd.total },
              { series: 'time', ratio: virtiofsd.seconds / viewfsd.seconds },
            ],
          },
        ],
  )
}

/** Each opcode of which either got any: `viewfsd's/virtiofsd's`. */
export function opcodeTable(rows: readonly WorkloadRow[]): string {
  let table = line(['workload', 'viewfsd/virtiofsd, by opcode']) + line(['---', '---'])
  for (const { workload, cells } of rows) {
    const { viewfsd, virtiofsd } = cells
    const opcodes = new Set([viewfsd, virtiofsd].flatMap((cell) => Object.keys(cell?.requests ?? {}).map(Number)))
    const counts = [...opcodes]
      .toSorted((a, b) => a - b)
      .map(
        (opcode) =>
          `${OPCODES[opcode] ?? `opcode ${opcode}`} ${viewfsd?.requests[opcode] ?? 0}/${virtiofsd?.requests[opcode] ?? 0}`,
      )
    table += line([workload, counts.join(', ')])
  }
  return table
}
