// SPDX-License-Identifier: Apache-2.0
/** Draws rows of ratios as a static SVG: grouped horizontal bars on a logarithmic axis, 1.0 being the baseline. */
import { BASELINE, type Column } from './matrix.ts'
import type { Row } from './report.ts'

const COLOURS: Record<Column, string> = {
  'memory-view': '#0b6e4f',
  shmem: '#d17b0f',
  'no-window': '#4a6fa5',
  virtiofsd: '#8a8a8a',
}

const BAR_HEIGHT = 11
const ROW_GAP = 10
const LEFT = 150
const RIGHT = 70
const TOP = 62
const WIDTH = 860

/** A row of bars: a ratio for each series. */
export interface Bars {
  readonly name: string
  readonly cells: readonly { readonly series: string; readonly ratio: number }[]
}

/**
 * @param title shown over the chart
 * @param rows whose cells carry a ratio; the baseline's own bar is left out, it is the line at 1.0
 */
export function ratioChart(title: string, rows: readonly Row[]): string {
  const bars = rows.map((row) => ({
    name: row.name,
    cells: row.cells.flatMap(({ column, ratio }) =>
      column !== BASELINE && ratio !== undefined && ratio > 0 ? [{ series: column, ratio }] : [],
    ),
  }))
  return barChart(`${title} (throughput, ratio to ${BASELINE}; log scale)`, COLOURS, bars)
}

/**
 * @param heading shown over the chart
 * @param colours of the series, by name
 */
export function barChart(heading: string, colours: Readonly<Record<string, string>>, bars: readonly Bars[]): string {
  const ratios = bars.flatMap((row) => row.cells.map((cell) => cell.ratio))
  const axis = makeAxis(Math.min(1, ...ratios), Math.max(1, ...ratios))

  const parts: string[] = []
  let y = TOP
  for (const row of bars) {
    const height = row.cells.length * BAR_HEIGHT
    parts.push(text(LEFT - 8, y + height / 2 + 4, row.name, 'end'))
    for (const cell of row.cells) {
      const { ratio } = cell
      const [from, to] = ratio < 1 ? [axis.x(ratio), axis.x(1)] : [axis.x(1), axis.x(ratio)]
      parts.push(
        `<rect x="${round(from)}" y="${y}" width="${round(Math.max(1, to - from))}" height="${BAR_HEIGHT - 2}" fill="${colours[cell.series]}"/>`,
        text(ratio < 1 ? from - 4 : to + 4, y + BAR_HEIGHT - 3, ratio.toFixed(2), ratio < 1 ? 'end' : 'start', 9),
      )
      y += BAR_HEIGHT
    }
    y += ROW_GAP
  }
  const height = y + 12
  const grid = axis.ticks.map((tick) => {
    const x = round(axis.x(tick))
    const stroke = tick === 1 ? '#222' : '#ddd'
    return `<line x1="${x}" y1="${TOP - 8}" x2="${x}" y2="${y}" stroke="${stroke}"/>${text(x, TOP - 12, `${tick}`, 'middle', 10)}`
  })
  const shown = [...new Set(bars.flatMap((row) => row.cells.map((cell) => cell.series)))]
  const legend = shown.map(
    (series, i) =>
      `<rect x="${LEFT + i * 130}" y="26" width="10" height="10" fill="${colours[series]}"/>${text(LEFT + 14 + i * 130, 35, series, 'start')}`,
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    text(LEFT, 18, heading, 'start', 13),
    ...legend,
    ...grid,
    ...parts,
    '</svg>\n',
  ].join('\n')
}

/** A logarithmic axis over [low, high] with ticks at 1, 2 and 5 times powers of ten. */
function makeAxis(low: number, high: number): { x: (value: number) => number; ticks: number[] } {
  const from = Math.log10(low) - 0.1
  const to = Math.log10(high) + 0.1
  const scale = (WIDTH - LEFT - RIGHT) / (to - from)
  const ticks: number[] = []
  for (let decade = Math.floor(from); decade <= Math.ceil(to); decade++) {
    for (const step of [1, 2, 5]) {
      const tick = Number((step * 10 ** decade).toPrecision(1))
      if (Math.log10(tick) >= from && Math.log10(tick) <= to) ticks.push(tick)
    }
  }
  return { x: (value) => LEFT + (Math.log10(value) - from) * scale, ticks }
}

function text(x: number, y: number, content: string, anchor: string, size = 11): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" text-anchor="${anchor}">${escaped}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
