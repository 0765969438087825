// SPDX-License-Identifier: Apache-2.0
/** Turns what kernel/selftests/bench_window.c has printed into a Markdown table and rows of a chart. */
import type { Bars } from './chart.ts'

/** One measurement on one kernel: the same accesses through a view and through a mapping of the file itself. */
export interface Measurement {
  readonly kernel: string
  readonly what: 'first touch' | 'cold read' | 'fsync' | 'hot set'
  readonly how: string
  readonly fs: string
  /** How the file lies in memory. */
  readonly folios: 'small' | 'large'
  readonly access: 'read' | 'write'
  /** Nanoseconds a page, or for all. */
  readonly native: number
  readonly view: number
  /** Percentage of the mapping that was mapped by huge entries. */
  readonly nativePmd: number
  readonly viewPmd: number
  /** Major faults. */
  readonly nativeMajor: number
  readonly viewMajor: number
}

/** Colours of the chart's series. */
export const WINDOW_COLOURS: Readonly<Record<string, string>> = {
  '6.12 read': '#9ec5ab',
  '6.12 write': '#e8bd86',
  '7.3 read': '#0b6e4f',
  '7.3 write': '#d17b0f',
}

/** The measurements in the output of a run; everything else in it is passed over. */
export function parseMeasurements(kernel: string, output: string): Measurement[] {
  return output
    .split('\n')
    .map((line) => /^\s*# bench (\{.*\})\s*$/.exec(line)?.[1])
    .filter((json) => json !== undefined)
    .map((json) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- printed by bench_window.c of this same build
      return { kernel, ...(JSON.parse(json) as Omit<Measurement, 'kernel'>) }
    })
}

/** Time through the view as a multiple of the file's own mapping. */
export function ratio(m: Measurement): number {
  return m.view / m.native
}

/** Of each measurement the one, of all sessions', that has the median ratio. */
export function medians(all: readonly Measurement[]): Measurement[] {
  const key = (m: Measurement): string => [m.kernel, m.what, m.fs, m.folios, m.how, m.access].join()
  const rows = [...new Set(all.map(key))].map((name) => all.filter((m) => key(m) === name))
  return rows.flatMap((row) => row.toSorted((a, b) => ratio(a) - ratio(b))[(row.length - 1) >> 1] ?? [])
}

/** A Markdown table of the measurements of one kind, a row each. */
export function markdownRows(what: Measurement['what'], all: readonly Measurement[]): string {
  const lines = [
    '| kernel | file | folios | how | access | native, ns | view, ns | ratio | by PMD, native | by PMD, view | major faults, native | view |',
    '| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ]
  for (const m of all.filter((one) => one.what === what)) {
    const times = `${m.native} | ${m.view} | ${ratio(m).toFixed(2)}`
    const pmd = `${m.nativePmd} % | ${m.viewPmd} %`
    lines.push(
      `| ${m.kernel} | ${m.fs} | ${m.folios} | ${m.how} | ${m.access} | ${times} | ${pmd} | ${m.nativeMajor} | ${m.viewMajor} |`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** First touch of a mapping that nobody shares: a row a kind of file, a bar a kernel and access. */
export function firstTouchBars(all: readonly Measurement[]): Bars[] {
  const ours = all.filter((m) => m.what === 'first touch' && m.how === 'alone')
  const names = [...new Set(ours.map((m) => `${m.fs}, ${m.folios}`))]
  return names.map((name) => ({
    name,
    cells: ours
      .filter((m) => `${m.fs}, ${m.folios}` === name)
      .map((m) => ({ series: `${m.kernel} ${m.access}`, ratio: ratio(m) })),
  }))
}
