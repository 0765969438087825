// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { ringResult } from '../testing/index.ts'

/** IORING_OP_*. */
const NOP = 0
const READV = 1
const WRITEV = 2
const OPENAT = 18

const EACCES = 13
const EBADF = 9

test('a ring carries out the one operation that it is for', () => {
  // There is no such descriptor.
  expect(ringResult(READV, READV)).toBe(-EBADF)
  expect(ringResult(NOP, NOP)).toBe(0)
  for (const other of [NOP, WRITEV, OPENAT]) expect(ringResult(READV, other), String(other)).toBe(-EACCES)
})
