// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import {
  opcodeTable,
  parseHistogram,
  type Requests,
  type WorkloadSample,
  workloadBars,
  workloadRows,
  workloadTable,
} from './workload-report.ts'
import type { Column } from './workloads.ts'

const HISTOGRAM = `# event histogram
#
# trigger info: hist:keys=opcode:vals=hitcount:sort=hitcount:size=2048 if connection == 42 [active]
#

{ opcode:         25 } hitcount:          2
{ opcode:          1 } hitcount:        130

Totals:
    Hits: 132
    Entries: 2
    Dropped: 0
`

test('the histogram of the kernel', () => {
  expect(parseHistogram(HISTOGRAM)).toEqual({ 1: 130, 25: 2 })
  expect(parseHistogram('')).toEqual({})
})

function sample(column: Column, seconds: number, requests: Requests): WorkloadSample {
  return { column, workload: 'find', seconds, daemonSeconds: seconds / 4, requests }
}

test('medians, totals and ratios, by opcode and together', () => {
  const rows = workloadRows([
    sample('viewfsd', 1, { 1: 10 }),
    sample('viewfsd', 9, { 1: 20, 99: 1 }),
    sample('viewfsd', 2, { 1: 30 }),
    sample('virtiofsd', 4, { 1: 40, 25: 10 }),
  ])
  expect(workloadTable(rows).split('\n')[2]).toBe('| find | 21 | 50 | 0.42 | 2.00 | 4.00 | 0.50 | 0.50 | 1.00 | 0.50 |')
  expect(opcodeTable(rows).split('\n')[2]).toBe('| find | LOOKUP 20/40, FLUSH 0/10, opcode 99 0/0 |')
  expect(workloadBars(rows)).toEqual([
    {
      name: 'find',
      cells: [
        { series: 'requests', ratio: 50 / 21 },
        { series: 'time', ratio: 2 },
      ],
    },
  ])
})
