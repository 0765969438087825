// SPDX-License-Identifier: Apache-2.0
/** A shmem window's bookkeeping against a map of its bytes. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TestingRanges } from '../testing/index.ts'

/** Pages in the model's window; offsets below are in pages. */
const PAGES = 24

interface Cell {
  readonly mapping: number
  readonly inode: number
  readonly foffset: number
  readonly writable: boolean
}

/** What each page shows, and by which mapping. */
class Model {
  readonly cells: (Cell | undefined)[] = Array.from({ length: PAGES })
  #mappings = 0

  map(moffset: number, length: number, inode: number, foffset: number, writable: boolean): string {
    const there = this.cells.slice(moffset, moffset + length)
    if (there.every((cell) => cell === undefined)) {
      this.#mappings++
      for (let i = 0; i < length; i++) {
        this.cells[moffset + i] = { mapping: this.#mappings, inode, foffset: foffset + i, writable }
      }
      return 'map'
    }
    const first = there[0]
    const exact =
      first !== undefined &&
      this.#extent(first.mapping).join() === [moffset, length].join() &&
      there.every((cell, i) => cell?.inode === inode && cell.foffset === foffset + i && (cell.writable || !writable))
    return exact ? 'present' : 'conflict'
  }

  unmap(moffset: number, length: number): number {
    const touched = new Set(this.cells.slice(moffset, moffset + length).map((cell) => cell?.mapping))
    touched.delete(undefined)
    for (const mapping of touched) {
      const [from, size] = this.#extent(mapping ?? 0)
      if (from < moffset || from + size > moffset + length) return -1
    }
    this.cells.fill(undefined, moffset, moffset + length)
    return touched.size
  }

  shows(inode: number): boolean {
    return this.cells.some((cell) => cell?.inode === inode)
  }

  #extent(mapping: number): [number, number] {
    const from = this.cells.findIndex((cell) => cell?.mapping === mapping)
    return [from, this.cells.filter((cell) => cell?.mapping === mapping).length]
  }
}

test('agrees with a map of the bytes', () => {
  const range = fc.tuple(fc.nat(PAGES - 1), fc.integer({ min: 1, max: 6 })).filter(([at, size]) => at + size <= PAGES)
  const step = fc.oneof(
    fc.record({ op: fc.constant('map' as const), range, inode: fc.nat(2), foffset: fc.nat(3), writable: fc.boolean() }),
    fc.record({ op: fc.constant('unmap' as const), range }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ranges = new TestingRanges()
      const model = new Model()
      for (const item of steps) {
        const [moffset, length] = item.range
        const [at, size] = [moffset * 4096, length * 4096]
        if (item.op === 'map') {
          const { inode, foffset, writable } = item
          expect(ranges.map(at, size, inode, foffset * 4096, writable)).toBe(
            model.map(moffset, length, inode, foffset, writable),
          )
        } else {
          expect(ranges.unmap(at, size)).toBe(model.unmap(moffset, length))
        }
        for (const inode of [0, 1, 2]) expect(ranges.shows(inode)).toBe(model.shows(inode))
      }
    }),
    { numRuns: 500 },
  )
})
