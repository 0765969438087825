// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { prefixedLines } from './progress.ts'

test('whole lines, each behind the prefix, from pieces that are cut anywhere', () => {
  const to = new PassThrough()
  const sink = prefixedLines('6.12: ', to)
  for (const piece of ['ok 1', ' - a\nok 2 - b\nok', ' 3']) sink(Buffer.from(piece))
  expect(String(to.read())).toBe('6.12: ok 1 - a\n6.12: ok 2 - b\n')
  sink(Buffer.from('\n\n'))
  expect(String(to.read())).toBe('6.12: ok 3\n6.12: \n')
})
