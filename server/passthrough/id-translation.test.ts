// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { FORBIDDEN, IdTranslator, NO_ID, toGuestRanges } from './id-translation.ts'

test('each kind, at the edges of its range', () => {
  const ids = new IdTranslator([
    { kind: 'guest', from: 1000, to: 5000, count: 10 },
    { kind: 'squash-guest', from: 2000, to: 7, count: 2 },
    { kind: 'forbid-guest', from: 3000, to: 0, count: 1 },
    { kind: 'host', from: 100, to: 200, count: 2 },
    { kind: 'squash-host', from: 300, to: 8, count: 3 },
    { kind: 'map', from: 50_000, to: 60_000, count: 100 },
  ])
  expect([999, 1000, 1009, 1010].map((id) => ids.toHost(id))).toEqual([999, 5000, 5009, 1010])
  expect([1999, 2000, 2001, 2002].map((id) => ids.toHost(id))).toEqual([1999, 7, 7, 2002])
  expect([2999, 3000, 3001].map((id) => ids.toHost(id))).toEqual([2999, FORBIDDEN, 3001])
  expect([50_000, 50_099, 50_100].map((id) => ids.toHost(id))).toEqual([60_000, 60_099, 50_100])
  // One direction says nothing about the other.
  expect(ids.toHost(200)).toBe(200)
})

test('no id stays none, even where all are squashed', () => {
  const ids = new IdTranslator([{ kind: 'squash-guest', from: 0, to: 1001, count: NO_ID }])
  expect([ids.toHost(0), ids.toHost(NO_ID - 1), ids.toHost(NO_ID)]).toEqual([1001, 1001, NO_ID])
})

test('what the guest sees of the host, as ranges', () => {
  const ranges = toGuestRanges([
    { kind: 'guest', from: 1000, to: 5000, count: 10 },
    { kind: 'forbid-guest', from: 3000, to: 0, count: 1 },
    { kind: 'host', from: 100, to: 200, count: 2 },
    { kind: 'squash-host', from: 300, to: 8, count: 3 },
    { kind: 'squash-guest', from: 2000, to: 7, count: 2 },
    { kind: 'map', from: 50_000, to: 60_000, count: 100 },
  ])
  expect([...ranges]).toEqual(
    [
      [100, 2, 200, 0],
      [300, 3, 8, 1],
      [60_000, 100, 50_000, 0],
    ].flat(),
  )
})
