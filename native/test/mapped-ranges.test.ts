// SPDX-License-Identifier: Apache-2.0
/** What those who look on are shown of a window, against a map of its pages. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TestingMappedRanges } from '../testing/index.ts'

const PAGES = 16

const place = fc
  .tuple(fc.nat(PAGES - 1), fc.integer({ min: 1, max: PAGES }))
  .map(([start, length]) => ({ start, length: Math.min(length, PAGES - start) }))
const change = fc.record({ place, nodeid: fc.nat(3), foffset: fc.nat(100), writable: fc.boolean() })

/** What each page shows. */
function pagesOf(ranges: InstanceType<typeof TestingMappedRanges>): (string | undefined)[] {
  const pages: (string | undefined)[] = Array.from({ length: PAGES })
  // Two at a time, as whoever does not want to hold anybody up for long.
  for (let next = 0; ; ) {
    const part = ranges.from(next, 2)
    for (const [nodeid = 0, moffset = 0, length = 0, foffset = 0, writable = 0] of part) {
      for (let i = 0; i < length; i++) {
        expect(pages[moffset + i]).toBeUndefined()
        pages[moffset + i] = `${nodeid} ${foffset + i} ${writable}`
      }
      next = moffset + length
    }
    if (part.length < 2) return pages
  }
}

test('each page shows what was mapped there last', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
      const ranges = new TestingMappedRanges()
      const model: (string | undefined)[] = Array.from({ length: PAGES })
      for (const { place: at, nodeid, foffset, writable } of changes) {
        // Nodeid 0: it becomes a hole.
        if (nodeid === 0) ranges.remove(at.start, at.length)
        else ranges.add(nodeid, at.start, at.length, foffset, writable, PAGES)
        for (let i = 0; i < at.length; i++) {
          model[at.start + i] = nodeid === 0 ? undefined : `${nodeid} ${foffset + i} ${Number(writable)}`
        }
      }
      expect(pagesOf(ranges)).toEqual(model)
    }),
  )
})

/** Ten parts of a file in a window that has room for so many, then the first of them is given up. */
function giveUp(windowSize: number, by: 'removal' | 'another'): InstanceType<typeof TestingMappedRanges> {
  const ranges = new TestingMappedRanges()
  for (let i = 0; i < 10; i++) ranges.add(1, i, 1, i, false, windowSize)
  if (by === 'removal') ranges.remove(0, 1)
  else ranges.add(1, 0, 1, 100, false, windowSize)
  return ranges
}

describe('ranges that are mapped again soon after they were given up', () => {
  test.each(['removal', 'another'] as const)('are counted, in a window that is nearly full: %s', (by) => {
    const ranges = giveUp(12, by)
    expect(ranges.wantedAgain()).toBe(0)
    ranges.add(1, 1, 1, 0, false, 12)
    expect(ranges.wantedAgain()).toBe(1)
    // It took the place of another, which now is.
    ranges.add(1, 2, 1, 1, false, 12)
    expect(ranges.wantedAgain()).toBe(2)
  })

  test('are not, in one that has room', () => {
    const ranges = giveUp(16, 'removal')
    ranges.add(1, 0, 1, 0, false, 16)
    expect(ranges.wantedAgain()).toBe(0)
  })

  test('are not those that become writable in their place, or come for the first time', () => {
    const ranges = giveUp(12, 'removal')
    for (let turn = 0; turn < 3; turn++) for (let i = 1; i < 10; i++) ranges.add(1, i, 1, i, turn % 2 === 0, 12)
    ranges.add(2, 0, 1, 0, false, 12)
    expect(ranges.wantedAgain()).toBe(0)
  })
})
