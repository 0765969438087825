// SPDX-License-Identifier: Apache-2.0
/** What those who look on are shown of a window, against a map of its pages. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
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
        else ranges.add(nodeid, at.start, at.length, foffset, writable)
        for (let i = 0; i < at.length; i++) {
          model[at.start + i] = nodeid === 0 ? undefined : `${nodeid} ${foffset + i} ${Number(writable)}`
        }
      }
      expect(pagesOf(ranges)).toEqual(model)
    }),
  )
})
