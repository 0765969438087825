// SPDX-License-Identifier: Apache-2.0
/** Turns what the frontend of native/bench/ has printed into rows with medians and ratios, a Markdown table and bars of a chart. */
import type { Bars } from './chart.ts'
import { median } from './report.ts'

/** A line of the frontend's. */
export interface Measurement {
  readonly operation: string
  /** Operations on their way at once, over all queues. */
  readonly inFlight: number
  readonly polls: boolean
  readonly operations: number
  /** Nanoseconds, for all of them: on the clock, of the daemon's processes, of the frontend. */
  readonly wallNs: number
  readonly daemonNs: number
  readonly frontendNs: number
}

/** A measurement and what it was of. */
export interface Sample extends Measurement {
  readonly daemon: string
  readonly fileSystem: string
  readonly queues: number
}

/** Microseconds an operation. */
export interface Cost {
  readonly wall: number
  readonly cpu: number
  readonly frontend: number
}

export interface Row {
  readonly operation: string
  readonly fileSystem: string
  readonly queues: number
  /** In flight at once, a queue. */
  readonly depth: number
  readonly polls: boolean
  readonly ours: Cost
  /** Of each number the best of virtiofsd's thread pools. */
  readonly theirs: Cost
  readonly floor: Cost | undefined
}

export const OURS = 'viewfsd'
export const FLOOR = 'floor'

/** Colours of the chart's series. */
export const REQUEST_COLOURS: Readonly<Record<string, string>> = { 'depth 1': '#9ec5ab', 'depth 32': '#0b6e4f' }

export function parseMeasurements(output: string): Measurement[] {
  return (
    output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- printed by native/bench/main.cc of this same build
      .map((line) => JSON.parse(line) as Measurement)
  )
}

function groups<T>(all: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>()
  for (const item of all) found.set(keyOf(item), [...(found.get(keyOf(item)) ?? []), item])
  return found
}

function cost(samples: readonly Sample[]): Cost {
  const middle = (what: 'wallNs' | 'daemonNs' | 'frontendNs'): number =>
    median(samples.map((sample) => sample[what] / sample.operations / 1000))
  return { wall: middle('wallNs'), cpu: middle('daemonNs'), frontend: middle('frontendNs') }
}

/** A row for each cell that both have been measured in, in the order of the samples. */
export function requestRows(samples: readonly Sample[]): Row[] {
  const cells = groups(samples, ({ operation, fileSystem, queues, inFlight, polls }) =>
    [operation, fileSystem, queues, inFlight, polls].join(' '),
  )
  return [...cells.values()].flatMap((all) => {
    const [first] = all
    const ours = all.filter(({ daemon }) => daemon === OURS)
    const floor = all.filter(({ daemon }) => daemon === FLOOR)
    const pools = groups(
      all.filter(({ daemon }) => daemon !== OURS && daemon !== FLOOR),
      ({ daemon }) => daemon,
    )
    if (first === undefined || ours.length === 0 || pools.size === 0) return []
    const theirs = [...pools.values()].map(cost)
    const best = (what: keyof Cost): number => Math.min(...theirs.map((each) => each[what]))
    return {
      operation: first.operation,
      fileSystem: first.fileSystem,
      queues: first.queues,
      depth: first.inFlight / first.queues,
      polls: first.polls,
      ours: cost(ours),
      theirs: { wall: best('wall'), cpu: best('cpu'), frontend: best('frontend') },
      floor: floor.length > 0 ? cost(floor) : undefined,
    }
  })
}

/** How many times the rate (or the work with the same CPU time) of virtiofsd viewfsd reaches. */
export function advantage(row: Row, what: 'wall' | 'cpu'): number {
  return row.theirs[what] / row.ours[what]
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)
}

function summaryLine(name: string, ratios: readonly number[]): string {
  const below = ratios.filter((ratio) => ratio < 1).length
  return `| ${name} | ${ratios.length} | ${below} | ${geometricMean(ratios).toFixed(2)} |`
}

/** How many cells there are, how many are below 1, and the geometric mean: of viewfsd, and of the floor where it can do the operation. */
export function summary(rows: readonly Row[]): string {
  const ofQueues = [...groups(rows, ({ queues }) => `${queues}`)].flatMap(([queues, some]) => {
    const floors = some.flatMap(({ floor, theirs }) => (floor === undefined ? [] : [theirs.cpu / floor.cpu]))
    const own = ['cpu', 'wall'] as const
    return [
      ...own.map((what) =>
        summaryLine(
          `${what}, ${queues} queue(s)`,
          some.map((row) => advantage(row, what)),
        ),
      ),
      ...(floors.length === 0 ? [] : [summaryLine(`cpu, ${queues} queue(s), the floor in place of viewfsd`, floors)]),
    ]
  })
  return ['| | cells | below 1.0 | geometric mean |', '| --- | ---: | ---: | ---: |', ...ofQueues, ''].join('\n')
}

/** Which cell it is, in the first columns of a table. */
function placeOf({ operation, fileSystem, queues, depth, polls }: Row): string {
  return [operation, fileSystem, queues, depth, polls ? 'polls' : 'sleeps'].join(' | ')
}

/** A Markdown table, a row a cell. */
export function requestTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const compared = (['cpu', 'wall'] as const).map((what) => {
      const [ours, theirs] = [row.ours[what], row.theirs[what]]
      return `${ours.toFixed(2)} | ${theirs.toFixed(2)} | ${advantage(row, what).toFixed(2)}`
    })
    const near = row.floor === undefined ? '' : row.floor.cpu.toFixed(2)
    return `| ${placeOf(row)} | ${compared.join(' | ')} | ${near} | ${row.ours.frontend.toFixed(2)} |`
  })
  return [
    '| operation | on | queues | depth | frontend | CPU, viewfsd | virtiofsd | ratio | wall, viewfsd | virtiofsd | ratio | CPU, floor | frontend |',
    '| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...lines,
    '',
  ].join('\n')
}

/**
 * CPU time of each cell without options, over the time with them: below 1 they cost something. A Markdown table.
 * @param options of the daemons `${OURS} ${options}`
 */
export function costTable(samples: readonly Sample[], options: readonly string[]): string {
  const tables = options.map((words) => {
    const named = samples.filter(({ daemon }) => daemon === OURS || daemon === `${OURS} ${words}`)
    return requestRows(named).map((row) => ({ row, ratio: row.ours.cpu / row.theirs.cpu }))
  })
  const lines = (tables[0] ?? []).map(({ row }, index) => {
    const ratios = tables.map((table) => table[index]?.ratio.toFixed(2) ?? '').join(' | ')
    return `| ${placeOf(row)} | ${row.ours.cpu.toFixed(2)} | ${ratios} |`
  })
  const means = tables.map((table) => geometricMean(table.map(({ ratio }) => ratio)).toFixed(3)).join(' | ')
  const names = options.map((words) => (words.trim() === '' ? 'without, again' : words)).join(' | ')
  return [
    `| operation | on | queues | depth | frontend | CPU, us | ${names} |`,
    `| --- | --- | ---: | ---: | --- | ---: |${' ---: |'.repeat(options.length)}`,
    ...lines,
    `| geometric mean | | | | | | ${means} |`,
    '',
  ].join('\n')
}

/** An operation a row, a depth a bar: the geometric mean over file systems, queues and frontends of the advantage in CPU. */
export function requestBars(rows: readonly Row[]): Bars[] {
  return [...groups(rows, ({ operation }) => operation)].map(([name, ofOperation]) => ({
    name,
    cells: [...groups(ofOperation, ({ depth }) => (depth === 1 ? 'depth 1' : 'depth 32'))].map(([series, ofDepth]) => ({
      series,
      ratio: geometricMean(ofDepth.map((row) => advantage(row, 'cpu'))),
    })),
  }))
}
