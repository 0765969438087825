// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import {
  costTable,
  advantage,
  geometricMean,
  parseMeasurements,
  requestBars,
  requestRows,
  requestTable,
  type Sample,
  summary,
} from './requests-report.ts'

function sample(daemon: string, cpu: number, wall: number, rest: Partial<Sample> = {}): Sample {
  return {
    daemon,
    fileSystem: 'tmpfs',
    queues: 4,
    operation: 'rename',
    inFlight: 128,
    polls: false,
    operations: 10,
    wallNs: wall * 10_000,
    daemonNs: cpu * 10_000,
    frontendNs: 5000,
    ...rest,
  }
}

const SAMPLES = [
  sample('viewfsd', 2, 4),
  sample('viewfsd', 100, 100),
  sample('viewfsd', 2, 4),
  sample('virtiofsd 0', 4, 9),
  sample('virtiofsd 64', 7, 6),
  sample('floor', 1, 2),
  sample('viewfsd', 8, 8, { inFlight: 4 }),
  sample('virtiofsd 0', 4, 4, { inFlight: 4 }),
  sample('viewfsd', 8, 8, { operation: 'nobody else' }),
]

test('a row has the median of viewfsd and the best of each of the others numbers', () => {
  const [row, shallow, ...none] = requestRows(SAMPLES)
  expect(row).toMatchObject({ queues: 4, depth: 32, ours: { cpu: 2, wall: 4, frontend: 0.5 } })
  expect(row).toMatchObject({ theirs: { cpu: 4, wall: 6 }, floor: { cpu: 1 } })
  expect(shallow).toMatchObject({ depth: 1, floor: undefined })
  expect(none).toEqual([])
})

test('what options cost is the time without them over that with them', () => {
  const table = costTable([sample('viewfsd', 3, 4), sample('viewfsd --x', 4, 4), sample('viewfsd ', 2, 4)], ['', '--x'])
  expect(table).toContain('| without, again | --x |')
  expect(table).toContain('| rename | tmpfs | 4 | 32 | sleeps | 3.00 | 1.50 | 0.75 |')
  expect(table).toContain('| geometric mean | | | | | | 1.500 | 0.750 |')
})

test('more than 1 is in favour of viewfsd', () => {
  const rows = requestRows(SAMPLES)
  expect(rows.map((row) => [advantage(row, 'cpu'), advantage(row, 'wall')])).toEqual([
    [2, 1.5],
    [0.5, 0.5],
  ])
  expect(summary(rows)).toContain('| cpu, 4 queue(s) | 2 | 1 | 1.00 |')
  expect(summary(rows)).toContain('| cpu, 4 queue(s), the floor in place of viewfsd | 1 | 0 | 4.00 |')
  expect(requestTable(rows)).toContain(
    '| rename | tmpfs | 4 | 32 | sleeps | 2.00 | 4.00 | 2.00 | 4.00 | 6.00 | 1.50 | 1.00 | 0.50 |',
  )
  expect(requestBars(rows)).toEqual([
    {
      name: 'rename',
      cells: [
        { series: 'depth 32', ratio: 2 },
        { series: 'depth 1', ratio: 0.5 },
      ],
    },
  ])
  expect(geometricMean([1, 4])).toBeCloseTo(2)
})

test('what else is printed is passed over', () => {
  expect(parseMeasurements('note\n{"operation":"rename","inFlight":1}\n')).toEqual([
    { operation: 'rename', inFlight: 1 },
  ])
})
