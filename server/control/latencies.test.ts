// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { cumulativeByOctave, latenciesSince, quantile } from './latencies.ts'
import { LATENCIES } from './testing.ts'

const [READ = LATENCIES[0]] = LATENCIES
if (READ === undefined) throw new Error('no latencies')

test('quantiles are the ends of the steps that they lie in', () => {
  // 30 in [1024, 1280) ns, 9 in [2048, 2560), one in [1, 1.25) s / 2^30 ns.
  expect(quantile(READ, 0.5)).toBe(1280)
  expect(quantile(READ, 0.75)).toBe(1280)
  expect(quantile(READ, 0.76)).toBe(2560)
  expect(quantile(READ, 0.99)).toBe(2 ** 30 * 1.25)
  expect(quantile({ ...READ, buckets: READ.buckets.map(() => 0) }, 0.5)).toBeUndefined()
})

test('what has come between two looks', () => {
  expect(latenciesSince(undefined, READ)).toEqual(READ)
  const since = latenciesSince(READ, { ...READ, nanoseconds: READ.nanoseconds + 5 })
  expect(since.nanoseconds).toBe(5)
  expect(quantile(since, 0.5)).toBeUndefined()
})

test('octaves, each with all that took no longer', () => {
  const steps = cumulativeByOctave(READ)
  expect(steps).toHaveLength(28)
  expect(steps[0]).toEqual({ seconds: 512e-9, requests: 0 })
  expect(steps.find(({ seconds }) => seconds === 2048e-9)?.requests).toBe(30)
  expect(steps.at(-1)).toEqual({ seconds: 2 ** 36 / 1e9, requests: 40 })
})
