// SPDX-License-Identifier: Apache-2.0
/** Turns the samples of the comparison into Markdown tables. */
import { type ComparisonSample, WAYS, type Way } from './comparison.ts'
import { median } from './report.ts'

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`
}

function head(first: string): string {
  return line([first, ...WAYS]) + line(['---', ...WAYS.map(() => '---:')])
}

function workloadsOf(samples: readonly ComparisonSample[]): string[] {
  return [...new Set(samples.map(({ workload }) => workload))]
}

/** Not a number where a run has failed. */
function medianOf(
  samples: readonly ComparisonSample[],
  workload: string,
  way: Way,
  value: (sample: ComparisonSample) => number | null,
): number {
  const values = samples.filter((sample) => sample.workload === workload && sample.way === way).map(value)
  return values.includes(null) ? Number.NaN : median(values.map(Number))
}

/** Medians in seconds, and in parentheses how many times as long as with virtiofsd. */
export function timeTable(samples: readonly ComparisonSample[]): string {
  let table = head('workload, seconds')
  for (const workload of workloadsOf(samples)) {
    const base = medianOf(samples, workload, 'virtiofsd', ({ seconds }) => seconds)
    const cells = WAYS.map((way) => {
      const seconds = medianOf(samples, workload, way, (sample) => sample.seconds)
      if (Number.isNaN(seconds)) return 'fails'
      return way === 'virtiofsd' ? seconds.toFixed(2) : `${seconds.toFixed(2)} (${(seconds / base).toFixed(2)})`
    })
    table += line([workload, ...cells])
  }
  return table
}

/** By how many MiB a workload that reads or writes a big file from its beginning to its end makes the guest's page cache grow. */
export function memoryTable(samples: readonly ComparisonSample[]): string {
  let table = head('page cache of the guest, MiB')
  for (const workload of workloadsOf(samples)) {
    if (!/MiB/.test(workload)) continue
    const cells = WAYS.map((way) => (medianOf(samples, workload, way, ({ cachedKiB }) => cachedKiB) / 1024).toFixed(1))
    table += line([workload, ...cells])
  }
  return table
}
