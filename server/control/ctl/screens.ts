// SPDX-License-Identifier: Apache-2.0
/** What viewfsdctl prints for people. */
import type { ForgottenMount } from '../../../native/index.ts'
import type { Metrics } from '../../metrics.ts'
import type { ActiveRequest, Status } from '../status.ts'
import { bytes, duration, printable } from './units.ts'

export function table(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('')
}

export function windowText(window: Metrics['window']): string {
  if (window.kind === 'none') return 'none'
  const shown = window.active ? 'shown by the frontend' : 'not shown by a frontend'
  return `${window.kind}, ${bytes(window.sizeBytes)}, ${shown}, ${window.live} live ranges`
}

export function guestText({ session }: Status): string {
  if (session === null) return 'none has mounted it'
  const dax = !session.window ? 'no window' : session.daxForEveryFile ? 'window, dax=always' : 'window, file by file'
  return `FUSE 7.${session.fuseMinor}, ${dax}, flags ${session.flags} ${session.flags2}`
}

function serversText({ restarts, last, crashes, refusing }: NonNullable<Status['servers']>): string {
  if (last === null) return 'none'
  const text = `${restarts}, the last one ${duration(last.secondsAgo)} ago: ${last.cause}`
  return refusing ? `${text}, after ${crashes} crashes within a minute: EVERY REQUEST GETS EIO` : text
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
    ...(status.servers === null ? [] : [['restarts', serversText(status.servers)] as [string, string]]),
    ['log level', status.logLevel],
  ]
  if (window.sinkPages !== undefined) {
    const lost = `${window.lostWrites ?? 0} lost writes, ${window.readErrors ?? 0} read errors`
    rows.splice(5, 0, ['sink', `${window.sinkPages} pages; ${lost}`])
  }
  return table(rows)
}

export function forgottenScreen({ inodes, handles, ranges }: ForgottenMount): string {
  return `let go of ${inodes} files and directories, ${handles} that were open, and ${ranges} ranges of the window\n`
}

export function requestsScreen(requests: readonly ActiveRequest[]): string {
  if (requests.length === 0) return 'no queue thread is at work on a request\n'
  return requests
    .map(
      ({ opcode, nodeid, path, queueThread, milliseconds, since }) =>
        `queue thread ${queueThread}  ${opcode.padEnd(15)} nodeid ${nodeid}${path === null ? '' : ` ${printable(path)}`}  for ${milliseconds} ms, since ${since}\n`,
    )
    .join('')
}
