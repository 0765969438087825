// SPDX-License-Identifier: Apache-2.0
/** What the native histograms say (native/session/latencies.h). */
import { LATENCY_FIRST_OCTAVE, LATENCY_STEPS, type LatencyHistogram } from '../../native/device.ts'
import { opcodeName } from '../fuse/abi.ts'

export interface Latencies extends Omit<LatencyHistogram, 'opcode'> {
  readonly opcode: string
}

export function latenciesOf(histograms: readonly LatencyHistogram[]): Latencies[] {
  return histograms.map((each) => ({ ...each, opcode: opcodeName(each.opcode) }))
}

/** Nanoseconds at which a step ends. */
function endOf(step: number): number {
  const octave = 2 ** (LATENCY_FIRST_OCTAVE + Math.floor(step / LATENCY_STEPS))
  return octave * (1 + ((step % LATENCY_STEPS) + 1) / LATENCY_STEPS)
}

/** What has come between two looks at one opcode. */
export function latenciesSince(before: Latencies | undefined, after: Latencies): Latencies {
  const buckets = after.buckets.map((count, step) => count - (before?.buckets[step] ?? 0))
  return { ...after, buckets, nanoseconds: after.nanoseconds - (before?.nanoseconds ?? 0) }
}

/** @returns the nanoseconds within which that part of the requests were served, 1.25 times as many at most; undefined: none was */
export function quantile({ buckets }: Latencies, part: number): number | undefined {
  const total = buckets.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  const wanted = Math.ceil(total * part)
  let seen = 0
  const step = buckets.findIndex((count) => (seen += count) >= wanted)
  return endOf(step)
}

/** Steps of an octave each, and how many requests took no longer; the last one has all. */
export function cumulativeByOctave({ buckets }: Latencies): { seconds: number; requests: number }[] {
  let requests = 0
  return buckets.flatMap((count, step) => {
    requests += count
    return step % LATENCY_STEPS === LATENCY_STEPS - 1 ? [{ seconds: endOf(step) / 1e9, requests }] : []
  })
}
