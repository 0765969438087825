// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shellQuote } from './command.ts'

test('quoted words keep their number and their bytes', { timeout: 30_000 }, () => {
  const words = fc.sample(fc.string({ maxLength: 40 }), 300).map((word) => word.replaceAll('\0', ''))
  words.push('', "'", '$(x)', 'a\nb', '\\', '-n', '*')
  const printed = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${words.map(shellQuote).join(' ')}`], {
    encoding: 'utf8',
  })
  expect(printed.split('\0').slice(0, -1)).toEqual(words)
})
