// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { type IdTranslation, NO_ID, toGuestRanges, toHostRanges } from './id-translation.ts'

const rules: readonly IdTranslation[] = [
  { kind: 'guest', from: 1000, to: 5000, count: 10 },
  { kind: 'forbid-guest', from: 3000, to: 0, count: 1 },
  { kind: 'host', from: 100, to: 200, count: 2 },
  { kind: 'squash-host', from: 300, to: 8, count: 3 },
  { kind: 'squash-guest', from: 2000, to: 7, count: 2 },
  { kind: 'map', from: 50_000, to: 60_000, count: 100 },
]

test('what the guest sees of the host, as ranges', () => {
  expect([...toGuestRanges(rules)]).toEqual(
    [
      [100, 2, 200, 0],
      [300, 3, 8, 1],
      [60_000, 100, 50_000, 0],
    ].flat(),
  )
})

test('what the guest’s ids are on the host, as ranges', () => {
  expect([...toHostRanges(rules)]).toEqual(
    [
      [1000, 10, 5000, 0],
      [3000, 1, 0, 2],
      [2000, 2, 7, 1],
      [50_000, 100, 60_000, 0],
    ].flat(),
  )
})

test('all ids, and no rules', () => {
  expect([...toHostRanges([{ kind: 'squash-guest', from: 0, to: 1001, count: NO_ID }])]).toEqual([0, NO_ID, 1001, 1])
  expect([toGuestRanges([]).length, toHostRanges([]).length]).toEqual([0, 0])
})
