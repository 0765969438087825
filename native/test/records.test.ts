// SPDX-License-Identifier: Apache-2.0
/** The tables' records and their index against a map. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TestingRecords } from '../testing/index.ts'
import { tableMemory } from './testing/table-memory.ts'

/** Records in a block of memory, which is given back as a whole. */
const PER_BLOCK = 1024

test('agrees with a map', () => {
  // Of keys so near to each other that many are in one chain, and so many that the index grows and shrinks.
  const range = fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 3 }))
  const step = fc.record({ inserts: fc.boolean(), keys: range })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const records = new TestingRecords(2 * PER_BLOCK)
      const model = new Map<number, number>()
      for (const { inserts, keys } of steps) {
        const [first, count, stride] = keys
        for (let key = first; key < first + count * stride; key += stride) {
          expect(records.find(key)).toBe(model.get(key) ?? 0)
          if (!inserts) {
            expect(records.erase(key)).toBe(model.get(key) ?? 0)
            model.delete(key)
          } else if (!model.has(key)) {
            const index = records.insert(key)
            expect(index).toBeGreaterThan(0)
            model.set(key, index)
          }
        }
      }
      expect(records.keys().toSorted((a, b) => a - b)).toEqual([...model.keys()].toSorted((a, b) => a - b))
      for (const [key, index] of model) expect(records.find(key)).toBe(index)
      expect(new Set(model.values()).size).toBe(model.size)
    }),
    { numRuns: 50 },
  )
})

test('there is room for as many as were asked for, and again once they are gone', () => {
  const records = new TestingRecords(5 * PER_BLOCK)
  for (let round = 0; round < 3; round++) {
    let count = 0
    while (records.insert(count) > 0) count++
    expect(count).toBeGreaterThanOrEqual(5 * PER_BLOCK)
    expect(count).toBeLessThan(7 * PER_BLOCK)
    for (let key = 0; key < count; key++) expect(records.erase(key)).toBeGreaterThan(0)
    expect(records.keys()).toEqual([])
  }
})

test('memory is taken for what is there, and given back', () => {
  const before = tableMemory()
  const records = new TestingRecords(2 ** 25)
  const count = 200 * PER_BLOCK
  for (let key = 0; key < count; key++) records.insert(key)
  // 64 bytes a record, 4 in the index.
  expect((tableMemory() - before) / count).toBeGreaterThan(67)
  expect((tableMemory() - before) / count).toBeLessThan(70)
  // What is left lies in two blocks of two hundred.
  for (let key = 2 * PER_BLOCK; key < count; key++) records.erase(key)
  expect((tableMemory() - before) / PER_BLOCK).toBeLessThan(64 * 8 + 100)
  for (let key = 0; key < 2 * PER_BLOCK; key++) expect(records.find(key)).toBeGreaterThan(0)
})
