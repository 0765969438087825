// SPDX-License-Identifier: Apache-2.0
/** From a line of the JSON log to an entry of systemd's journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
import { fstatSync } from 'node:fs'
import { priorityOf } from '../system-log.ts'

export const JOURNAL_SOCKET = '/run/systemd/journal/socket'

/** Whether standard error is the journal's, as a service manager says in JOURNAL_STREAM (systemd.exec(5)). */
export function journalListens(stream: string | undefined): boolean {
  if (stream === undefined) return false
  const { dev, ino } = fstatSync(2, { bigint: true })
  return stream === `${dev}:${ino}`
}

/** What the journal has fields of its own for, or adds. */
const ADDED = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg'])
/** The kernel refuses a datagram that is much longer. */
const MOST_BYTES = 64 * 1024

/** MESSAGE, PRIORITY, and each other member of the line as VIEWFSD_NAME: what is no text as JSON. */
export function journalEntry(line: string): Uint8Array {
  const record: unknown = JSON.parse(line)
  const members = typeof record === 'object' && record !== null ? Object.entries(record) : []
  const member = (name: string): unknown => members.find(([key]) => key === name)?.[1]
  const message = member('msg')
  const fields: [string, string][] = [
    ['MESSAGE', typeof message === 'string' ? message : line.trim()],
    ['PRIORITY', `${priorityOf(member('level'))}`],
    ['SYSLOG_IDENTIFIER', 'viewfsd'],
    ...members
      .filter(([name, value]) => !ADDED.has(name) && value !== undefined)
      .map(([name, value]): [string, string] => [fieldName(name), text(value)]),
  ]
  const whole = encode(fields)
  return whole.length <= MOST_BYTES
    ? whole
    : encode(fields.slice(0, 3).map(([name, value]) => [name, value.slice(0, 8192)]))
}

/** workerIndex: VIEWFSD_WORKER_INDEX. */
function fieldName(name: string): string {
  const words = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
  return `VIEWFSD_${words.replace(/[^A-Z0-9_]/g, '_')}`.slice(0, 64)
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function encode(fields: readonly (readonly [string, string])[]): Uint8Array {
  return Buffer.concat(fields.map(([name, value]) => encodeField(name, Buffer.from(value))))
}

/** NAME=value, or where the value has line breaks NAME, its length in 64 bits, little-endian, and the value. */
function encodeField(name: string, value: Buffer): Buffer {
  if (!value.includes(10)) return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from('\n')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(value.length))
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from('\n')])
}
