// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import type { ComparisonSample, Way } from './comparison.ts'
import { memoryTable, timeTable } from './comparison-report.ts'

function sample(way: Way, seconds: number, cachedKiB = 0): ComparisonSample {
  return { way, workload: 'read 64 MiB', seconds, cachedKiB }
}

test('medians, and ratios to virtiofsd', () => {
  const samples = [sample('viewfsd', 1), sample('viewfsd', 9), sample('viewfsd', 2, 3072), sample('virtiofsd', 4, 512)]
  const cells = ['viewfsd', 'virtiofsd'].map((way) => timeTable(samples).split('\n')[0]?.split(' | ').indexOf(way) ?? 0)
  const row = (table: string): (string | undefined)[] => {
    const texts = table.split('\n')[2]?.split(' | ')
    return cells.map((index) => texts?.[index])
  }
  expect(row(timeTable(samples))).toEqual(['2.00 (0.50)', '4.00'])
  expect(row(memoryTable(samples))).toEqual(['0.0', '0.5'])
})
