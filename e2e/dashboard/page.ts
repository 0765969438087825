// SPDX-License-Identifier: Apache-2.0
/** Draws the answers to a dashboard's queries, laid out as its panels are, as a page for a browser. */

export interface Drawn {
  readonly title: string
  /** Grafana's kind of panel: stat, timeseries, heatmap. */
  readonly type: string
  readonly unit: string
  /** In columns of a 24th of the width, and rows. */
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  /** Points are seconds since the start, and values. */
  readonly series: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly points: readonly (readonly [number, number])[]
  }[]
}

const ROW = 38
const HEAD = 30
const GAP = 8
const COLOURS = [
  '#1f77b4',
  '#d95f02',
  '#1b9e77',
  '#7570b3',
  '#e7298a',
  '#66a61e',
  '#a6761d',
  '#666666',
  '#17becf',
  '#b22222',
]
const SCALES = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const

function value(number: number, unit: string): string {
  if (unit === 'bool_yes_no') return number === 0 ? 'No' : 'Yes'
  if (unit === 'bytes' || unit === 'Bps') {
    const power = number < 1 ? 0 : Math.min(3, Math.floor(Math.log2(number) / 10))
    return `${Number((number / 1024 ** power).toPrecision(3))} ${['B', 'KiB', 'MiB', 'GiB'][power] ?? ''}${unit === 'Bps' ? '/s' : ''}`
  }
  if (unit === 's') {
    if (number < 1e-3) return `${Number((number * 1e6).toPrecision(3))} µs`
    return number < 1 ? `${Number((number * 1e3).toPrecision(3))} ms` : `${Number(number.toPrecision(3))} s`
  }
  const [scale, letter] = SCALES.find(([from]) => number >= from) ?? [1, '']
  return `${Number((number / scale).toPrecision(3))}${letter}${unit === 'reqps' || unit === 'ops' ? '/s' : ''}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

function lines(panel: Drawn, width: number, height: number, seconds: number): string {
  const right = width - 150
  const bottom = height - 18
  const values = panel.series.flatMap(({ points }) => points.map(([, number]) => number))
  const most = Math.max(...values)
  const top = most > 0 ? most : 1
  const x = (second: number): number => 70 + (second / seconds) * (right - 70)
  const y = (number: number): number => bottom - (number / top) * (bottom - 26)
  const axis = [0, 0.5, 1].map(
    (part) =>
      `<path d="M70 ${y(part * top)}H${right}" stroke="#ddd"/><text x="64" y="${y(part * top) + 4}" text-anchor="end">${value(part * top, panel.unit)}</text>`,
  )
  // Those that reach highest first.
  const highest = (points: Drawn['series'][number]['points']): number => Math.max(...points.map(([, number]) => number))
  const ordered = panel.series.toSorted((one, other) => highest(other.points) - highest(one.points))
  const drawn = ordered.map(({ labels, points }, index) => {
    const colour = COLOURS[index % COLOURS.length]
    const path = points.map(([second, number]) => `${x(second).toFixed(1)} ${y(number).toFixed(1)}`).join('L')
    const legend =
      index * 14 + 36 > height
        ? ''
        : `<text x="${right + 22}" y="${index * 14 + 34}">${escaped(labels['name'] ?? '')}</text><rect x="${right + 8}" y="${index * 14 + 26}" width="10" height="8" fill="${colour}"/>`
    return `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${legend}`
  })
  const times = [0, Math.round(seconds)].map(
    (second) => `<text x="${x(second)}" y="${height - 4}" text-anchor="middle">${second} s</text>`,
  )
  return [...axis, ...drawn, ...times].join('')
}

/** Rows by upper bound ("le"), less what the row below has; darker: more. */
function heat(panel: Drawn, width: number, height: number, seconds: number): string {
  const rows = panel.series
    .map(({ labels, points }) => ({ bound: Number(labels['name']), points: new Map(points) }))
    .filter(({ bound }) => Number.isFinite(bound))
    .toSorted((one, other) => one.bound - other.bound)
  const cells = rows.flatMap(({ points }, row) =>
    [...points].map(([second, number]) => ({ row, second, count: number - (rows[row - 1]?.points.get(second) ?? 0) })),
  )
  const most = Math.max(...cells.map(({ count }) => count), Number.MIN_VALUE)
  const tall = (height - 46) / rows.length
  const wide = ((width - 90) / seconds) * 5
  const y = (row: number): number => height - 18 - (row + 1) * tall
  const labels = rows.flatMap(({ bound }, row) =>
    row % 4 === 0 ? [`<text x="64" y="${y(row) + tall}" text-anchor="end">${value(bound, 's')}</text>`] : [],
  )
  const blocks = cells
    .filter(({ count }) => count > 0)
    .map(
      ({ row, second, count }) =>
        `<rect x="${70 + (second / seconds) * (width - 90)}" y="${y(row)}" width="${wide}" height="${tall}" fill="#b22222" opacity="${(0.15 + 0.85 * Math.sqrt(count / most)).toFixed(2)}"/>`,
    )
  return [...labels, ...blocks].join('')
}

function stat(panel: Drawn, width: number, height: number): string {
  const last = panel.series[0]?.points.at(-1)?.[1] ?? 0
  return `<text x="${width / 2}" y="${height / 2 + 22}" text-anchor="middle" style="font-size:34px;fill:#1b7837">${value(last, panel.unit)}</text>`
}

/** @param seconds that the data is of @param pixels of the page's width */
export function dashboardPage(
  panels: readonly Drawn[],
  seconds: number,
  pixels: number,
): { html: string; height: number } {
  const column = pixels / 24
  const height = HEAD + Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * ROW
  const bodies = panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos
    const width = w * column - GAP
    const tall = h * ROW - GAP
    const body =
      panel.type === 'stat'
        ? stat(panel, width, tall)
        : panel.type === 'heatmap'
          ? heat(panel, width, tall, seconds)
          : lines(panel, width, tall, seconds)
    return `<g transform="translate(${x * column + GAP / 2} ${HEAD + y * ROW})"><rect width="${width}" height="${tall}" fill="#fff" stroke="#ccc"/><text x="10" y="18" style="font-weight:bold">${escaped(panel.title)}</text>${body}</g>`
  })
  const head = `<text x="10" y="20" style="font-size:15px">share/grafana-dashboard.json, its queries answered by Prometheus, drawn without Grafana</text>`
  const style = 'body{margin:0;background:#f4f5f5}text{font:11px sans-serif;fill:#333}'
  const html = `<!doctype html><meta charset="utf-8"><style>${style}</style><svg width="${pixels}" height="${height}">${head}${bodies.join('')}</svg>`
  return { html, height }
}
