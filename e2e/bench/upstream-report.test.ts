// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { upstreamTable } from './upstream-report.ts'
import type { Measurement } from './window-report.ts'

function touched(fs: string, native: number, view: number): Measurement {
  return {
    kernel: '7.3',
    what: 'first touch',
    how: 'alone',
    fs,
    folios: 'small',
    access: 'read',
    native,
    view,
    nativePmd: 0,
    viewPmd: 0,
    nativeMajor: 0,
    viewMajor: 0,
  }
}

describe('the report of the patches for Linux', () => {
  test('has ratios within each run, and the medians of a kind', () => {
    const table = upstreamTable({
      series: [
        touched('ext4', 100, 110),
        touched('xfs', 200, 300),
        touched('ext4', 100, 900),
        touched('ext4', 100, 100),
      ],
      outOfTree: [touched('xfs', 200, 400), touched('ext4', 100, 80)],
      unpatched: [touched('ext4', 300, 300), touched('ext4', 80, 80), touched('xfs', 200, 200)],
    })
    expect(table.split('\n').slice(2)).toEqual([
      '| first touch, alone: ext4, small folios, read | 1.10 | 0.80 | 1.25 |',
      '| first touch, alone: xfs, small folios, read | 1.50 | 2.00 | 1.00 |',
      '| **median: first touch, read** | 1.30 | 1.40 | 1.13 |',
      '',
    ])
  })

  test('says what was not measured everywhere', () => {
    expect(() => upstreamTable({ series: [touched('ext4', 1, 1)], outOfTree: [], unpatched: [] })).toThrow(
      'not measured everywhere: first touch, alone: ext4',
    )
  })
})
