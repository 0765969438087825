// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { ratioChart } from './chart.ts'
import { parseFio } from '../guest/fio.ts'
import { BASELINE, fioJob } from './matrix.ts'
import { markdownTable, matrixRows, median, sweepRows } from './report.ts'
import type { Sample } from './report.ts'

const MIB = 2 ** 20

const samples: Sample[] = [
  { column: 'memory-view', pattern: 'randread', engine: 'mmap', bytesPerSecond: 40 * MIB },
  { column: 'memory-view', pattern: 'randread', engine: 'mmap', bytesPerSecond: 60 * MIB },
  { column: 'memory-view', pattern: 'randread', engine: 'mmap', bytesPerSecond: 400 * MIB },
  { column: 'virtiofsd', pattern: 'randread', engine: 'mmap', bytesPerSecond: 20 * MIB },
  { column: 'no-window', pattern: 'randread', engine: 'mmap', bytesPerSecond: 30 * MIB },
  { column: 'shmem', pattern: 'randread', engine: 'mmap', windowFraction: 0.25, bytesPerSecond: 3 * MIB },
]

describe('median', () => {
  test('is the middle value, or the mean of the middle two', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([4, 2])).toBe(3)
    expect(median([])).toBeNaN()
  })
})

describe('matrixRows', () => {
  test('takes medians and ratios against Rust virtiofsd, and leaves the sweep out', () => {
    const rows = matrixRows(samples)
    expect(rows.map((row) => row.name)).toEqual(['randread-mmap'])
    expect(rows[0]?.cells).toEqual([
      { column: 'memory-view', runs: [40 * MIB, 60 * MIB, 400 * MIB], median: 60 * MIB, ratio: 3 },
      { column: 'no-window', runs: [30 * MIB], median: 30 * MIB, ratio: 1.5 },
      { column: 'virtiofsd', runs: [20 * MIB], median: 20 * MIB, ratio: 1 },
    ])
  })

  test('has no ratio where the baseline was not measured', () => {
    const row = matrixRows(samples.filter((s) => s.column !== BASELINE))[0]
    expect(row?.cells.map((cell) => cell.ratio)).toEqual([undefined, undefined])
  })
})

test('sweepRows puts each window size beside the columns without a window', () => {
  const rows = sweepRows(samples)
  expect(rows.map((row) => row.name)).toEqual(['window = 0.25 x file'])
  expect(rows[0]?.cells.map((cell) => cell.column)).toEqual(['shmem', 'no-window', 'virtiofsd'])
  expect(rows[0]?.cells[0]?.ratio).toBeCloseTo(0.15)
})

test('markdownTable shows what was not measured as a dash', () => {
  expect(markdownTable(matrixRows(samples)).split('\n')).toEqual([
    '| job | memory-view, MiB/s (ratio) | shmem, MiB/s (ratio) | no-window, MiB/s (ratio) | virtiofsd, MiB/s |',
    '| --- | ---: | ---: | ---: | ---: |',
    '| randread-mmap | 60.0 (3.00) | - | 30.0 (1.50) | 20.0 |',
    '',
  ])
})

test('ratioChart draws one bar a measured column and none for the baseline', () => {
  const svg = ratioChart('fio in the guest', sweepRows(samples))
  // Background; two legends and bars.
  expect(svg.match(/<rect /g)).toHaveLength(5)
  expect(svg).toContain('>0.15<')
})

const side = (bandwidth: number) => ({ bw_bytes: bandwidth, iops: 1, clat_ns: { mean: 1000 } })

const report = (...of: [error: number, read: number, write: number][]) =>
  JSON.stringify({ jobs: of.map(([error, read, write]) => ({ error, read: side(read), write: side(write) })) })

describe('fio', () => {
  const jobs = [fioJob('randread', 'mmap'), fioJob('seqwrite', 'libaio')]
  test('is asked for the published job', () => {
    expect(jobs[1]).toEqual({ name: 'seqwrite-libaio', rw: 'write', engine: 'libaio', blockBytes: 4096, iodepth: 16 })
  })

  test('gives the bandwidth of the side that each job moves', () => {
    const results = parseFio(`note: {both} iodepth\n${report([0, 7, 0], [0, 0, 9])}`, jobs)
    expect(results.map((result) => result.bytesPerSecond)).toEqual([7, 9])
  })

  test('refuses what is not a result', () => {
    expect(() => parseFio(report([0, 0, 7], [0, 0, 9]), jobs)).toThrow(/moved no data/)
    expect(() => parseFio('fio: not found', jobs)).toThrow(/no JSON/)
    expect(() => parseFio(report([0, 7, 0], [5, 0, 9]), jobs)).toThrow(/error 5/)
  })
})
