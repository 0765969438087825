// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { readableLine } from './readable-log.ts'

const TIME = Date.UTC(2026, 10, 28, 23, 20, 21, 7)

function line(fields: Record<string, unknown>): string {
  return `${JSON.stringify({ level: 30, time: TIME, pid: 1, hostname: 'host', name: 'viewfsd', ...fields })}\n`
}

test('says when, how grave, what, and what belongs to it', () => {
  expect(readableLine(line({ msg: 'a frontend has connected', queue: 3, what: { a: 1 } }), false)).toBe(
    '23:20:21.007Z INFO  a frontend has connected queue=3 what={"a":1}\n',
  )
  expect(readableLine(line({ level: 40, msg: 'm' }), true)).toBe('23:20:21.007Z \u001b[33mWARN \u001b[0m m\n')
})

test('control characters of a guest do not reach the terminal', () => {
  const shown = readableLine(line({ msg: 'x\u001b[2Jy\nz\u009b1m', file: '\u001b]0;title\u0007' }), false)
  expect(shown).toBe('23:20:21.007Z INFO  x?[2Jy?z?1m file=?]0;title?\n')
})

test('shows the stack of an error only where the message is another', () => {
  const err = { type: 'Error', message: 'no such file', stack: 'Error: no such file\n    at somewhere' }
  expect(readableLine(line({ level: 60, msg: 'no such file', err }), false)).toBe('23:20:21.007Z FATAL no such file\n')
  expect(readableLine(line({ level: 60, msg: 'a bug in viewfsd', err }), false)).toBe(
    '23:20:21.007Z FATAL a bug in viewfsd\n    Error: no such file\n        at somewhere\n',
  )
})
