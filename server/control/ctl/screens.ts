// SPDX-License-Identifier: Apache-2.0
/** What viewfsdctl prints for people. */
import type { Metrics } from '../../metrics.ts'
import type { ActiveRequest, Status } from '../status.ts'
import { bytes, duration, printable } from './units.ts'

function table(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('')
}

export function windowText(window: Metrics['window']): string {
  if (window.kind === 'none') return 'none'
  const shown = window.active ? 'shown by the frontend' : 'not shown by a frontend'
  return `${window.kind}, ${bytes(window.sizeBytes)}, ${shown}, ${window.live} live ranges`
}

function guestText({ session }: Status): string {
  if (session === null) return 'none has mounted it'
  const dax = !session.window ? 'no window' : session.daxForEveryFile ? 'window, dax=always' : 'window, file by file'
  return `FUSE 7.${session.fuseMinor}, ${dax}, flags ${session.flags} ${session.flags2}`
}

export function statusScreen(status: Status): string {
  const { frontend, window } = status
  const rows: [string, string][] = [
    ['viewfsd', `${status.version}, up ${duration(status.uptimeSeconds)}`],
    ['directory', `${status.sharedDir}${status.tag === null ? '' : `, tag ${status.tag}`}`],
    ['frontend', frontend.connected ? `connected for ${duration(frontend.connectedSeconds ?? 0)}` : 'none'],
    ['guest', guestText(status)],
    ['window', windowText(window)],
    ['requests', `${status.activeRequests} under way, queue threads: ${status.queueThreads}`],
    ['log level', status.logLevel],
  ]
  if (window.sinkPages !== undefined) {
    const lost = `${window.lostWrites ?? 0} lost writes, ${window.readErrors ?? 0} read errors`
    rows.splice(5, 0, ['sink', `${window.sinkPages} pages; ${lost}`])
  }
  return table(rows)
}

export function requestsScreen(requests: readonly ActiveRequest[]): string {
  if (requests.length === 0) return 'no queue thread is at work on a request\n'
  return requests
    .map(
      ({ opcode, nodeid, queueThread, milliseconds, since }) =>
        `queue thread ${queueThread}  ${opcode.padEnd(15)} nodeid ${nodeid}  for ${milliseconds} ms, since ${since}\n`,
    )
    .join('')
}

/** How many opcodes `top` shows. */
const BUSIEST = 10

/** @param before the counters of `seconds` ago */
export function topScreen(status: Status, before: Metrics, after: Metrics, seconds: number): string {
  const rate = (now: number, then: number): number => (now - then) / seconds
  const rates = Object.entries(after.fuse.requests)
    .map(([opcode, count]) => [opcode, rate(count, before.fuse.requests[opcode] ?? 0)] as const)
    .filter(([, perSecond]) => perSecond > 0)
    .toSorted(([, one], [, other]) => other - one)
  const total = rate(after.fuse.requestsTotal, before.fuse.requestsTotal)
  const faults = rate(after.window.faults ?? 0, before.window.faults ?? 0)
  const mappings = rate(after.fuse.mappingsSetUp, before.fuse.mappingsSetUp)
  const summary = table([
    ['guest', guestText(status)],
    ['window', windowText(after.window)],
    ['requests', `${total.toFixed(0)}/s, ${status.activeRequests} under way`],
    ['READ', `${bytes(Math.round(rate(after.fuse.bytesRead, before.fuse.bytesRead)))}/s`],
    ['WRITE', `${bytes(Math.round(rate(after.fuse.bytesWritten, before.fuse.bytesWritten)))}/s`],
    ['window faults', `${faults.toFixed(0)}/s, ${mappings.toFixed(0)} mappings/s`],
  ])
  const busiest = rates.slice(0, BUSIEST).map(([opcode, perSecond]) => [opcode, `${perSecond.toFixed(0)}/s`] as const)
  return busiest.length === 0 ? summary : `${summary}\n${table(busiest)}`
}
