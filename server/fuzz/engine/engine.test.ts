// SPDX-License-Identifier: Apache-2.0
/** The fuzzers' own machinery: a fuzzer that can find nothing passes everything. */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import vm from 'node:vm'
import { expect, onTestFinished, test } from 'vitest'
import { readCorpus, writeCorpus } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { fuzz } from './fuzz.ts'
import { mutate } from './mutate.ts'
import { Random } from './random.ts'
import { MAX_RECORDS, RECORD_BYTES, Script, splitProgram } from './script.ts'

test('a script is zeros behind its end', () => {
  const script = new Script(Uint8Array.of(5, 1, 2))
  expect([script.below(4), script.word(), script.long()]).toEqual([1, 0x201, 0n])
})

test('a program is a head and records', () => {
  const { head, steps } = splitProgram(new Uint8Array(3 * RECORD_BYTES + 1).fill(9))
  expect([head.byte(), steps.length]).toEqual([9, 3])
  expect(splitProgram(new Uint8Array(0)).steps).toEqual([])
})

test('mutations differ, and stay within bounds', () => {
  const random = new Random(3)
  let program: Uint8Array = new Uint8Array(0)
  const seen = new Set<string>()
  for (let i = 0; i < 2000; i++) {
    program = mutate(program, program, random)
    expect(program.length).toBeGreaterThan(0)
    expect(program.length).toBeLessThanOrEqual((MAX_RECORDS + 1) * RECORD_BYTES)
    seen.add(Buffer.from(program).toString('base64'))
  }
  expect(seen.size).toBeGreaterThan(1900)
})

test('coverage tells what has run for the first time', () => {
  const coverage = new Coverage((url) => url === 'file:///toy.js')
  const source = 'globalThis.toy = (x) => { if (x > 1) { return "large" } return "small" }'
  vm.runInThisContext(source, { filename: 'file:///toy.js' })
  const toy: unknown = Reflect.get(globalThis, 'toy')
  if (typeof toy !== 'function') throw new Error('no function')
  const runs = [0, 0, 2, 2, 0].map((x) => {
    toy(x)
    return coverage.isNew()
  })
  expect(runs).toEqual([true, false, true, false, false])
  const before = coverage.snapshot()
  coverage.restore(new Map())
  toy(2)
  expect(coverage.isNew()).toBe(true)
  expect(coverage.size).toBeGreaterThan(0)
  expect(before.size).toBe(1)
})

test('a corpus keeps what its programs have found', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'viewfsd-corpus-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'corpus.txt')
  const entries = [
    { program: Uint8Array.of(1, 2, 255), found: 'a hole' },
    { program: new Uint8Array(100), found: undefined },
  ]
  writeCorpus(file, entries)
  expect(readCorpus(file)).toEqual(entries)
})

test('the loop climbs to a fault that no single mutation reaches', async () => {
  const wanted = [3, 1, 4, 1, 5]
  const target = {
    name: 'toy',
    covers: () => false,
    run: (program: Uint8Array): Promise<number[]> => {
      const values = splitProgram(program).steps.map((step) => step.byte())
      let right = 0
      while (right < wanted.length && values[right] === wanted[right]) right++
      return right === wanted.length ? Promise.reject(new Error('found')) : Promise.resolve([right])
    },
    close: () => Promise.resolve(),
  }
  let last: Uint8Array = new Uint8Array(0)
  const about = (program: Uint8Array): void => {
    last = program
  }
  await expect(fuzz({ target, corpus: [], seed: 1, deadline: Infinity, about })).rejects.toThrow('found')
  expect(splitProgram(last).steps.length).toBeGreaterThanOrEqual(wanted.length)
})
