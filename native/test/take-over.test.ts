// SPDX-License-Identifier: Apache-2.0
/**
 * The tables of a shared directory, taken over from a process that may have ended at any instruction: test/take_over/main.cc
 * leads it through its operations one by one. Whatever the instant, the successor finds what the guest had before a step, or
 * what it has after that, and nothing in between.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Mounts } from './testing/mounts.ts'

const PROGRAM = path.resolve(import.meta.dirname, '../build/test/take_over')

/** What the guest has got, or lost, by each step of an operation; "nodeid 2" is all that is known of it. */
const STEPS: Record<string, string[]> = {
  lookup: ['+ id2 once'],
  'lookup-again': ['+ id2 twice, - id2 once'],
  'lookup-unanswered': [],
  'lookup-new-unanswered': [],
  'forget-one': ['+ id2 once, - id2 twice'],
  open: ['+ fh1 file'],
  'open-unanswered': [],
  opendir: ['+ fh3 directory of 5'],
  'opendir-unanswered': [],
  readdir: [],
  'lookup-replaced': ['+ id6 once'],
  use: [],
  'keep-unlinked': [],
  'forget-open': ['- id2 once'],
  release: ['- fh1 file'],
  create: ['+ id8 once', '+ fh5 file'],
  'create-unanswered': [],
  lock: ['- unlocked'],
  unlock: ['+ unlocked'],
  'forget-last': ['- id8 once'],
  map: ['+ map8+4'],
  // Who looks on sees that it is unmapped a moment before what is left.
  unmap: ['- map8+4', '+ map8+2'],
  'lookup-known-unanswered': [],
  'take-over': [],
  releasedir: ['- fh3 directory of 5'],
  'lookup-many': Array.from({ length: 8 }, () => '+ one'),
  'forget-many': Array.from({ length: 8 }, () => '- one'),
}

/** What a successor must not touch. */
const REFUSED = ['newer', 'other-limits', 'other-size', 'other-directory']

interface Operation {
  readonly name: string
  /** Those that were looked at; 0 of what was refused. */
  readonly instants: number
  readonly findings: Set<string>[]
}

let share: string
let mounts: Mounts

beforeEach(() => {
  mounts = new Mounts()
  share = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-take-over-'))
})
afterEach(() => {
  mounts[Symbol.dispose]()
  fs.rmSync(share, { recursive: true, force: true })
})

function run(directory: string, handles: 'prefer' | 'never', forgotten: 'remembers' | 'forgets'): Operation[] {
  const output = execFileSync(PROGRAM, [directory, handles, forgotten], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  return output
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [name = '', , instants, ...findings] = line.split('\t')
      return {
        name,
        instants: Number(instants),
        findings: findings.map((found) => new Set(found.split('; ').filter((each) => each !== ''))),
      }
    })
}

/** "id2=1234*2" and "fh2=1234/5" in words. */
function describe(item: string): string {
  const [, what, lookups, entries] = /^((?:id|fh)\d+)=[^*/]*(?:\*(\d+)|\/(\d+))?$/.exec(item) ?? []
  if (what === undefined) return item
  if (lookups !== undefined) return `${what} ${{ 1: 'once', 2: 'twice' }[lookups] ?? lookups}`
  return `${what} ${entries === undefined ? 'file' : `directory of ${entries}`}`
}

function steps({ findings }: Operation, inWords: boolean): string[] {
  return findings.slice(1).map((after, index) => {
    const before = findings[index] ?? new Set<string>()
    const changes = [
      ...[...after].filter((item) => !before.has(item)).map((item) => `+ ${inWords ? describe(item) : 'one'}`),
      ...[...before].filter((item) => !after.has(item)).map((item) => `- ${inWords ? describe(item) : 'one'}`),
    ]
    return changes.join(', ')
  })
}

function itemsOf(operations: Operation[]): string[] {
  return operations.flatMap(({ findings }) => findings.flatMap((found) => [...found]))
}

function check(all: Operation[]): void {
  const operations = all.filter(({ instants }) => instants > 0)
  const items = itemsOf(operations)
  // Found in the right place, open, and nothing given out twice.
  expect(
    items.filter((item) => !/^(id\d+=(\d+|Stale file handle)\*\d+|fh\d+=\d+(\/5)?|unlocked|map8\+\d)$/.test(item)),
  ).toEqual([])
  for (const operation of operations) {
    const { name } = operation
    if (name === 'clear' || name === 'lookup-remembered') continue
    expect({ [name]: steps(operation, !name.endsWith('-many')) }).toEqual({ [name]: STEPS[name] })
  }
  // One after the other, until nothing is left.
  const clear = operations.find(({ name }) => name === 'clear')
  expect(clear && steps(clear, false)).toEqual(
    [...(clear?.findings[0] ?? [])].flatMap((item) => (item === 'unlocked' ? [] : '- one')),
  )
  expect(operations.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(STEPS)))
  expect(operations.reduce((sum, { instants }) => sum + instants, 0)).toBeGreaterThan(700)
  const refusals = all.filter(({ instants }) => instants === 0)
  expect(refusals.map((each) => [each.name, ...itemsOf([each])])).toEqual(REFUSED.map((name) => [name, 'refused']))
}

/** Of the file that was forgotten last. */
function again(operations: Operation[]): string[] {
  return operations.filter(({ name }) => name === 'lookup-remembered').flatMap((operation) => steps(operation, true))
}

/** Single steps: whoever has little of a CPU needs long for them. */
const LONG = 600_000

test('with handles, of a guest that comes back to what it has forgotten', { timeout: LONG }, () => {
  const operations = run(share, 'prefer', 'remembers')
  check(operations)
  expect(again(operations)).toEqual(['+ id8 once'])
})

test('with descriptors', { timeout: LONG }, () => {
  const operations = run(share, 'never', 'forgets')
  check(operations)
  expect(again(operations)).toEqual(['+ id10 once'])
  // Replaced or unlinked, what has a descriptor can be used.
  expect(itemsOf(operations).filter((item) => item.includes('Stale'))).toEqual([])
})

test("with handles that are long, an overlay's", { timeout: LONG }, () => {
  const behind = (name: string): string => path.join(mounts.scratch, name)
  mounts.tmpfs(behind('layers'))
  for (const name of ['lower', 'upper', 'work']) fs.mkdirSync(path.join(behind('layers'), name))
  const dirs = ['lower', 'upper', 'work'].map((name) => `${name}dir=${path.join(behind('layers'), name)}`)
  mounts.mount(behind('share'), '-t', 'overlay', 'viewfsd-test', '-o', `${dirs.join()},index=on,nfs_export=on`)
  const operations = run(behind('share'), 'prefer', 'forgets')
  check(operations)
  expect(again(operations)).toEqual(['+ id10 once'])
})
