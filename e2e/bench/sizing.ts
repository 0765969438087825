// SPDX-License-Identifier: Apache-2.0
/** What `npm run bench:sizing` measures, and the Markdown tables and the chart of doc/sizing.md that come of it. */
import { barChart } from './chart.ts'
import { median } from './report.ts'

/** Sizes of windows whose memory in the guest is measured. */
export const WINDOWS_MIB = [64, 1024] as const

const KIB = 1024
/** Files that are read one after the other: their size, and how many; together they never fill the window. */
export const FILE_SETS = [
  { sizeKiB: 4, files: 64 },
  { sizeKiB: 16, files: 64 },
  { sizeKiB: 64, files: 64 },
  { sizeKiB: 256, files: 32 },
  { sizeKiB: 1 * KIB, files: 16 },
  { sizeKiB: 4 * KIB, files: 8 },
] as const

export interface WindowSample {
  readonly windowMiB: number
  /** MemFree of a guest that has only booted, and by how much it falls when it mounts the share with dax=always. */
  readonly freeKiB: number
  readonly mountKiB: number
}

export interface FileSample {
  readonly dax: boolean
  readonly sizeKiB: number
  readonly files: number
  /** The first reading after the mount, and the second. */
  readonly firstSeconds: number
  readonly againSeconds: number
  /** By how much the guest's page cache has grown by both. */
  readonly cachedKiB: number
}

export interface SizingSamples {
  readonly windows: readonly WindowSample[]
  readonly files: readonly FileSample[]
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`
}

function head(cells: readonly string[]): string {
  return line(cells) + line(cells.map(() => '---:'))
}

/** What larger windows cost beyond the smallest. */
export function windowTable({ windows }: SizingSamples): string {
  const of = (windowMiB: number, value: (sample: WindowSample) => number): number =>
    median(windows.filter((sample) => sample.windowMiB === windowMiB).map(value))
  const [smallest, ...larger] = WINDOWS_MIB
  const free = of(smallest, ({ freeKiB }) => freeKiB)
  let table = head(['window, MiB', 'ranges', 'MemFree, MiB', 'less, a range more, KiB', 'at the mount, a range, KiB'])
  for (const windowMiB of [smallest, ...larger]) {
    const own = of(windowMiB, ({ freeKiB }) => freeKiB)
    const more = (windowMiB - smallest) / 2
    const range = more === 0 ? '' : ((free - own) / more).toFixed(1)
    const mount = (of(windowMiB, ({ mountKiB }) => mountKiB) / (windowMiB / 2)).toFixed(2)
    table += line([String(windowMiB), String(windowMiB / 2), (own / KIB).toFixed(1), range, mount])
  }
  return table
}

interface FileRow {
  readonly size: string
  readonly files: number
  /** Milliseconds a file, and MiB of page cache for all of them. */
  readonly with: Times
  readonly without: Times
}

interface Times {
  readonly first: number
  readonly again: number
  readonly cached: number
}

function fileRows({ files: samples }: SizingSamples): FileRow[] {
  return FILE_SETS.map(({ sizeKiB, files }) => {
    const times = (dax: boolean): Times => {
      const own = samples.filter((sample) => sample.sizeKiB === sizeKiB && sample.dax === dax)
      const of = (value: (sample: FileSample) => number): number => median(own.map(value))
      return {
        first: (of(({ firstSeconds }) => firstSeconds) / files) * 1000,
        again: (of(({ againSeconds }) => againSeconds) / files) * 1000,
        cached: of(({ cachedKiB }) => cachedKiB) / KIB,
      }
    }
    const size = sizeKiB < KIB ? `${sizeKiB} KiB` : `${sizeKiB / KIB} MiB`
    return { size, files, with: times(true), without: times(false) }
  })
}

export function fileTable(samples: SizingSamples): string {
  let table = head([
    'files of',
    'how many',
    'first, without, ms',
    'in the window',
    'ratio',
    'again, without, ms',
    'in the window',
    'ratio',
    'page cache, without, MiB',
    'in the window',
  ])
  for (const { size, files, with: window, without } of fileRows(samples)) {
    const pair = (key: 'first' | 'again'): string[] => [
      without[key].toFixed(2),
      window[key].toFixed(2),
      (without[key] / window[key]).toFixed(2),
    ]
    table += line([
      size,
      String(files),
      ...pair('first'),
      ...pair('again'),
      without.cached.toFixed(1),
      window.cached.toFixed(1),
    ])
  }
  return table
}

/** How many times as fast a file is read in the window, by its size. */
export function fileChart(samples: SizingSamples): string {
  const bars = fileRows(samples).map(({ size, with: window, without }) => ({
    name: `files of ${size}`,
    cells: [
      { series: 'first time', ratio: without.first / window.first },
      { series: 'again', ratio: without.again / window.again },
    ],
  }))
  const colours = { 'first time': '#0b6e4f', again: '#d17b0f' }
  return barChart('Reading files in the window, speed as a multiple of the same without it (log scale)', colours, bars)
}
