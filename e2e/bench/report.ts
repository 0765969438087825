// SPDX-License-Identifier: Apache-2.0
/** Turns the measurements of one rig session into rows with medians and ratios, and those into a Markdown table. */
import { BASELINE, COLUMNS, ENGINES, hasWindow, PATTERNS, SWEEP, SWEEP_FRACTIONS } from './matrix.ts'
import type { Column, Engine, Pattern } from './matrix.ts'

/** One fio run. `windowFraction` is set for runs of the window-size sweep only. */
export interface Sample {
  column: Column
  pattern: Pattern
  engine: Engine
  windowFraction?: number
  bytesPerSecond: number
}

/** One cell of the table: the median of `runs`, and its ratio to the baseline's median where there is one. */
export interface Cell {
  column: Column
  runs: number[]
  median: number
  ratio: number | undefined
}

export interface Row {
  name: string
  cells: Cell[]
}

/** Middle value; the mean of the middle two for an even count. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined) return Number.NaN
  const lower = sorted[middle - 1]
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2
}

/** One row a pattern and engine. Rows without a sample are left out. */
export function matrixRows(samples: readonly Sample[]): Row[] {
  const jobs = PATTERNS.flatMap((pattern) => ENGINES.map((engine) => ({ pattern, engine })))
  return jobs
    .map(({ pattern, engine }) => {
      const ofJob = samples.filter(
        (s) => s.windowFraction === undefined && s.pattern === pattern && s.engine === engine,
      )
      return makeRow(`${pattern}-${engine}`, ofJob)
    })
    .filter((row) => row.cells.length > 0)
}

/** One row a window size, beside the same job of the columns that have no window. */
export function sweepRows(samples: readonly Sample[]): Row[] {
  const ofJob = samples.filter((s) => s.pattern === SWEEP.pattern && s.engine === SWEEP.engine)
  const windowless = ofJob.filter((s) => !hasWindow(s.column))
  return SWEEP_FRACTIONS.map((fraction) => {
    const ofSize = ofJob.filter((s) => s.windowFraction === fraction)
    return makeRow(`window = ${fraction} x file`, ofSize.length > 0 ? [...ofSize, ...windowless] : [])
  }).filter((row) => row.cells.length > 0)
}

function makeRow(name: string, samples: readonly Sample[]): Row {
  const runsOf = (column: Column): number[] => samples.filter((s) => s.column === column).map((s) => s.bytesPerSecond)
  const base = median(runsOf(BASELINE))
  const cells = COLUMNS.map((column) => {
    const runs = runsOf(column)
    const middle = median(runs)
    return { column, runs, median: middle, ratio: base > 0 ? middle / base : undefined }
  }).filter((cell) => cell.runs.length > 0)
  return { name, cells }
}

/** A Markdown table: medians in MiB/s, the ratio in parentheses, `-` where nothing was measured. */
export function markdownTable(rows: readonly Row[]): string {
  const lines = [
    `| job | ${COLUMNS.map((c) => (c === BASELINE ? `${c}, MiB/s` : `${c}, MiB/s (ratio)`)).join(' | ')} |`,
    `| --- | ${COLUMNS.map(() => '---:').join(' | ')} |`,
  ]
  for (const row of rows) {
    const cells = COLUMNS.map((column) => {
      const cell = row.cells.find((c) => c.column === column)
      return cell === undefined ? '-' : formatCell(cell)
    })
    lines.push(`| ${row.name} | ${cells.join(' | ')} |`)
  }
  return `${lines.join('\n')}\n`
}

function formatCell(cell: Cell): string {
  const value = (cell.median / 2 ** 20).toFixed(1)
  if (cell.column === BASELINE || cell.ratio === undefined) return value
  return `${value} (${cell.ratio.toFixed(2)})`
}
