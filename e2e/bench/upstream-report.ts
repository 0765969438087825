// SPDX-License-Identifier: Apache-2.0
/**
 * The window benchmark on the patched kernel (kernel/upstream), with its driver and with the one that needs no patches, and on the same kernel
 * without patches. Only ratios of one run mean something; between runs, mappings of files themselves are what they have in common.
 */
import { type Measurement, ratio } from './window-report.ts'

/** All that was measured, some of it more than once. */
export interface UpstreamMeasurements {
  /** The driver of the patches. */
  readonly series: readonly Measurement[]
  /** The driver of kernel/, on the same kernel. */
  readonly outOfTree: readonly Measurement[]
  /** The same on a kernel without patches. */
  readonly unpatched: readonly Measurement[]
}

const name = (m: Measurement): string => `${m.what}, ${m.how}: ${m.fs}, ${m.folios} folios, ${m.access}`

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)]
  if (middle === undefined) throw new Error('nothing was measured')
  return sorted.length % 2 === 1 ? middle : ((sorted[sorted.length / 2 - 1] ?? middle) + middle) / 2
}

const least = (all: readonly Measurement[]): number => Math.min(...all.map((m) => m.native))

/**
 * A row a measurement: time through the view as a multiple of the file's own mapping, for both drivers; and the file's own mapping on
 * the patched kernel as a multiple of the kernel without patches. The former are medians, the latter is of the least times. Last, the medians of
 * each kind of measurement.
 *
 * @throws {Error} where one has what another lacks
 */
export function upstreamTable(all: UpstreamMeasurements): string {
  const lines = [
    '| measurement | view, patches | view, out of tree | file itself, patched / unpatched |',
    '| --- | ---: | ---: | ---: |',
  ]
  const kinds = new Map<string, number[][]>()
  for (const one of new Map(all.series.map((m) => [name(m), m])).values()) {
    const same = (m: Measurement): boolean => name(m) === name(one)
    const series = all.series.filter(same)
    const outOfTree = all.outOfTree.filter(same)
    const unpatched = all.unpatched.filter(same)
    if (outOfTree.length === 0 || unpatched.length === 0) throw new Error(`not measured everywhere: ${name(one)}`)
    // Of boots that did not take turns: what else the machine does only adds.
    const native = least([...series, ...outOfTree]) / least(unpatched)
    const row = [median(series.map(ratio)), median(outOfTree.map(ratio)), native]
    lines.push(`| ${name(one)} | ${row.map((value) => value.toFixed(2)).join(' | ')} |`)
    const kind = `${one.what}, ${one.access}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), row])
  }
  for (const [kind, rows] of kinds) {
    const medians = [0, 1, 2].map((column) => median(rows.map((row) => row[column] ?? Number.NaN)).toFixed(2))
    lines.push(`| **median: ${kind}** | ${medians.join(' | ')} |`)
  }
  return `${lines.join('\n')}\n`
}
