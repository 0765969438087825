// SPDX-License-Identifier: Apache-2.0
/** The tables of documents are those that the benchmarks print for the results that lie beside them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { memoryTable, timeTable } from './comparison-report.ts'
import type { ComparisonSample } from './comparison.ts'
import { fileTable, type SizingSamples, windowTable } from './sizing.ts'

function read(name: string): string {
  return readFileSync(join(import.meta.dirname, '../../doc', name), 'utf8')
}

test('doc/comparison.md', () => {
  const { samples }: { samples: ComparisonSample[] } = JSON.parse(read('benchmark-comparison.json'))
  const page = read('comparison.md')
  expect(page).toContain(timeTable(samples))
  expect(page).toContain(memoryTable(samples))
})

test('doc/sizing.md', () => {
  const samples: SizingSamples = JSON.parse(read('benchmark-sizing.json'))
  const page = read('sizing.md')
  expect(page).toContain(windowTable(samples))
  expect(page).toContain(fileTable(samples))
})
