// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { barChart } from './chart.ts'
import { firstTouchBars, markdownRows, medians, parseMeasurements, WINDOW_COLOURS } from './window-report.ts'

const OUTPUT = `TAP version 13
    # bench {"what":"first touch","how":"alone","fs":"xfs","folios":"large","access":"read","native":100,"view":110,"nativePmd":100,"viewPmd":98,"nativeMajor":0,"viewMajor":0}
    # 1200 ms
    # bench {"what":"cold read","how":"random","fs":"ext4","folios":"small","access":"read","native":200,"view":210,"nativePmd":0,"viewPmd":0,"nativeMajor":31,"viewMajor":32}
    ok 1 - bench_first_touch
`

describe('the report of the window benchmark', () => {
  const all = parseMeasurements('7.3', OUTPUT)

  test('finds the measurements in the output of a run', () => {
    expect(all.map((m) => [m.kernel, m.what, m.fs, m.view])).toEqual([
      ['7.3', 'first touch', 'xfs', 110],
      ['7.3', 'cold read', 'ext4', 210],
    ])
  })

  test('has a row a measurement, of one kind', () => {
    const table = markdownRows('cold read', all)
    expect(table.split('\n')).toHaveLength(4)
    expect(table).toContain('| 7.3 | ext4 | small | random | read | 200 | 210 | 1.05 | 0 % | 0 % | 31 | 32 |')
  })

  test('takes the median of sessions for each row by itself', () => {
    const [first, second] = all
    if (first === undefined || second === undefined) throw new Error('no measurements')
    const sessions = [100, 300, 140].flatMap((view) => [
      { ...first, view },
      { ...second, view: view / 2 },
    ])
    expect(medians(sessions).map((m) => [m.fs, m.view])).toEqual([
      ['xfs', 140],
      ['ext4', 70],
    ])
  })

  test('charts the first touch', () => {
    expect(firstTouchBars(all)).toEqual([{ name: 'xfs, large', cells: [{ series: '7.3 read', ratio: 1.1 }] }])
    const svg = barChart('First touch', WINDOW_COLOURS, firstTouchBars(all))
    expect(svg).toContain('xfs, large')
    expect(svg).toContain('1.10')
  })
})
