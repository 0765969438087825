// SPDX-License-Identifier: Apache-2.0
import os from 'node:os'
import { expect, test } from 'vitest'
import { Errno, errnoName } from './errno.ts'

test('every number is what the C library has', () => {
  const reference: Record<string, number> = os.constants.errno
  for (const [name, value] of Object.entries(Errno)) expect([name, reference[name]]).toEqual([name, value])
})

test('names are found by number', () => {
  expect(errnoName(2)).toBe('ENOENT')
  expect(errnoName(4000)).toBe('errno 4000')
})
