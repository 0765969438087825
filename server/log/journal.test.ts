// SPDX-License-Identifier: Apache-2.0
import { fstatSync } from 'node:fs'
import { expect, test } from 'vitest'
import { journalEntry, journalListens } from './journal.ts'

/** As journald reads it. */
function decode(entry: Uint8Array): Record<string, string> {
  const bytes = Buffer.from(entry)
  const fields: Record<string, string> = {}
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at)
    const line = bytes.toString('utf8', at, end)
    const equals = line.indexOf('=')
    if (equals >= 0) {
      fields[line.slice(0, equals)] = line.slice(equals + 1)
      at = end + 1
    } else {
      const length = Number(bytes.readBigUInt64LE(end + 1))
      fields[line] = bytes.toString('utf8', end + 9, end + 9 + length)
      at = end + 9 + length + 1
    }
  }
  return fields
}

test('message, priority and fields', () => {
  const line = { level: 40, time: 1, pid: 2, name: 'viewfsd', event: 'request-stuck', nodeid: 5, msg: 'a request' }
  expect(decode(journalEntry(JSON.stringify(line)))).toEqual({
    MESSAGE: 'a request',
    PRIORITY: '4',
    SYSLOG_IDENTIFIER: 'viewfsd',
    VIEWFSD_EVENT: 'request-stuck',
    VIEWFSD_NODEID: '5',
  })
})

test('names as the journal wants them; what a guest has named makes no field of its own', () => {
  const line = { level: 30, windowOffset: 4096, 'a=b c': { x: 1 }, file: '/a\nPRIORITY=0\n', msg: 'x\ny' }
  expect(decode(journalEntry(JSON.stringify(line)))).toEqual({
    MESSAGE: 'x\ny',
    PRIORITY: '6',
    SYSLOG_IDENTIFIER: 'viewfsd',
    VIEWFSD_WINDOW_OFFSET: '4096',
    VIEWFSD_A_B_C: '{"x":1}',
    VIEWFSD_FILE: '/a\nPRIORITY=0\n',
  })
})

test('a line that is too long keeps its text', () => {
  const fields = decode(journalEntry(JSON.stringify({ level: 30, stack: 'x'.repeat(100_000), msg: 'short' })))
  expect(fields).toEqual({ MESSAGE: 'short', PRIORITY: '6', SYSLOG_IDENTIFIER: 'viewfsd' })
})

test('listens only where standard error is what the service manager has named', () => {
  const { dev, ino } = fstatSync(2)
  expect(journalListens(`${dev}:${ino}`)).toBe(true)
  expect(journalListens(`${dev}:${ino + 1}`)).toBe(false)
  expect(journalListens(undefined)).toBe(false)
})
