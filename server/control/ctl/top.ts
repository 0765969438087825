// SPDX-License-Identifier: Apache-2.0
/** `viewfsdctl top`: what has happened since the last look. */
import type { Metrics } from '../../metrics.ts'
import type { FileReport, FilesReport } from '../files.ts'
import { type Latencies, latenciesSince, quantile } from '../latencies.ts'
import type { Status } from '../status.ts'
import { guestText, table, windowText } from './screens.ts'
import { bytes, latency, printable } from './units.ts'

/** How many opcodes and files are shown. */
const BUSIEST = 10

/** All that is asked for at one time. */
export interface Look {
  readonly counters: Metrics
  readonly latencies: readonly Latencies[]
  readonly files: FilesReport
}

export interface OpcodeRate {
  readonly opcode: string
  readonly perSecond: number
  /** Nanoseconds; null where none of them was timed. */
  readonly p50: number | null
  readonly p99: number | null
}

export interface FileRate extends Pick<FileReport, 'nodeid' | 'path' | 'rangeCount'> {
  readonly perSecond: number
}

export interface TopReport {
  readonly seconds: number
  readonly requestsPerSecond: number
  readonly readBytesPerSecond: number
  readonly writtenBytesPerSecond: number
  readonly windowFaultsPerSecond: number
  readonly mappingsPerSecond: number
  /** The busiest first; all of them. */
  readonly opcodes: readonly OpcodeRate[]
  readonly files: readonly FileRate[]
  /** See FilesReport. */
  readonly window: readonly number[]
}

/** @param before what there was `seconds` ago */
export function topReport(before: Look, after: Look, seconds: number): TopReport {
  const rate = (now: number, then: number): number => Math.max(0, now - then) / seconds
  const [was, is] = [before.counters, after.counters]
  const since = new Map(
    after.latencies.map((each) => {
      const earlier = before.latencies.find(({ opcode }) => opcode === each.opcode)
      return [each.opcode, latenciesSince(earlier, each)] as const
    }),
  )
  const part = (opcode: string, wanted: number): number | null => {
    const latencies = since.get(opcode)
    return (latencies === undefined ? undefined : quantile(latencies, wanted)) ?? null
  }
  const opcodes = Object.entries(is.fuse.requests)
    .map(([opcode, count]) => ({
      opcode,
      perSecond: rate(count, was.fuse.requests[opcode] ?? 0),
      p50: part(opcode, 0.5),
      p99: part(opcode, 0.99),
    }))
    .filter(({ perSecond }) => perSecond > 0)
    .toSorted((one, other) => other.perSecond - one.perSecond)
  return {
    seconds,
    requestsPerSecond: rate(is.fuse.requestsTotal, was.fuse.requestsTotal),
    readBytesPerSecond: rate(is.fuse.bytesRead, was.fuse.bytesRead),
    writtenBytesPerSecond: rate(is.fuse.bytesWritten, was.fuse.bytesWritten),
    windowFaultsPerSecond: rate(is.window.faults ?? 0, was.window.faults ?? 0),
    mappingsPerSecond: rate(is.fuse.mappingsSetUp, was.fuse.mappingsSetUp),
    opcodes,
    files: fileRates(before.files.files, after.files.files, seconds),
    window: after.files.window,
  }
}

/** Those with most requests first, among equals those with most ranges. */
function fileRates(before: readonly FileReport[], after: readonly FileReport[], seconds: number): FileRate[] {
  const earlier = new Map(before.map(({ nodeid, requests }) => [nodeid, requests]))
  return after
    .map(({ nodeid, path, rangeCount, requests }) => ({
      nodeid,
      path,
      rangeCount,
      perSecond: Math.max(0, requests - (earlier.get(nodeid) ?? 0)) / seconds,
    }))
    .filter(({ perSecond, rangeCount }) => perSecond > 0 || rangeCount > 0)
    .toSorted((one, other) => other.perSecond - one.perSecond || other.rangeCount - one.rangeCount)
}

/** How full a part of the window is, in eighths. */
const BLOCKS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

export function windowMap(parts: readonly number[]): string {
  return parts.map((part) => BLOCKS[part <= 0 ? 0 : Math.max(1, Math.min(8, Math.floor(part * 8)))]).join('')
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => `${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')}\n`).join('')
}

function time(nanoseconds: number | null): string {
  return nanoseconds === null ? '-' : latency(nanoseconds)
}

export function topScreen(status: Status, { counters }: Look, report: TopReport): string {
  const parts = [
    table([
      ['guest', guestText(status)],
      ['window', windowText(counters.window)],
      ['requests', `${report.requestsPerSecond.toFixed(0)}/s, ${status.activeRequests} under way`],
      ['READ', `${bytes(Math.round(report.readBytesPerSecond))}/s`],
      ['WRITE', `${bytes(Math.round(report.writtenBytesPerSecond))}/s`],
      [
        'window faults',
        `${report.windowFaultsPerSecond.toFixed(0)}/s, ${report.mappingsPerSecond.toFixed(0)} mappings/s`,
      ],
    ]),
  ]
  if (report.opcodes.length > 0) {
    const rows = report.opcodes
      .slice(0, BUSIEST)
      .map(({ opcode, perSecond, p50, p99 }) => [opcode, perSecond.toFixed(0), time(p50), time(p99)])
    parts.push(columns([['opcode', 'per second', 'p50', 'p99'], ...rows]))
  }
  if (report.files.length > 0) {
    const rows = report.files.slice(0, BUSIEST).map(({ nodeid, path, perSecond, rangeCount }) => ({
      numbers: [perSecond.toFixed(0), `${rangeCount}`],
      name: printable(path ?? `nodeid ${nodeid}`),
    }))
    const numbers = columns([['per second', 'ranges'], ...rows.map((row) => row.numbers)]).split('\n')
    parts.push(
      ['file', ...rows.map(({ name }) => name)].map((name, row) => `${numbers[row] ?? ''}  ${name}\n`).join(''),
    )
  }
  if (report.window.some((part) => part > 0)) parts.push(`window  |${windowMap(report.window)}|\n`)
  return parts.join('\n')
}
