// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { systemLogEntry } from './system-log.ts'

test('has the message first, and no second time what the system log adds', () => {
  const line = '{"level":40,"time":1,"pid":2,"hostname":"h","name":"viewfsd","queue":3,"msg":"a ring is broken"}\n'
  expect(systemLogEntry(line)).toEqual({ priority: 4, message: 'a ring is broken {"queue":3}' })
})

test.each([
  [10, 7],
  [20, 7],
  [30, 6],
  [40, 4],
  [50, 3],
  [60, 2],
])('level %i is priority %i', (level, priority) => {
  expect(systemLogEntry(JSON.stringify({ level, msg: 'x' }))).toEqual({ priority, message: 'x' })
})
