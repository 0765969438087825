// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { manualOptions, withOptions } from './manual.ts'
import { OPTION_TABLE } from './table.ts'

const page = readFileSync(new URL('../../doc/viewfsd.1', import.meta.url), 'utf8')

test('the page has the options of the table (else: npm run build:ts && npm run manual)', () => {
  expect(withOptions(page)).toBe(page)
})

test('every option has an item', () => {
  expect(manualOptions().match(/^\.It Fl/gm)).toHaveLength(OPTION_TABLE.length)
})

test('no line of text is taken for a request', () => {
  for (const line of manualOptions().split('\n')) expect(line).toMatch(/^(?:\.(?:Bl|El|It|Pp|Ss)\b.*|[^.'].*|)$/)
})

test('a page without marks is refused', () => {
  expect(() => withOptions('.Dd $Mdocdate$\n')).toThrow(/lacks the marks/)
})
