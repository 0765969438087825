// SPDX-License-Identifier: Apache-2.0
/** The addon's fileSystem and operations against its caller's mistakes: wrong types and ranges throw, everything else is an errno. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FIELDS } from '../file-request.ts'
import { fileSystem, operations } from '../index.ts'
import { operate } from './testing/operate.ts'

let scratch: string
let directory: number
beforeAll(() => {
  fileSystem.attachThread()
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-native-'))
  directory = fileSystem.createSharedDirectory(scratch, 1, 1, 1, 1000)
})
afterAll(() => {
  fileSystem.reset(directory)
  fs.rmSync(scratch, { recursive: true })
})

const name = Buffer.from('name\0')
const SEEK_DATA = 3

describe('createSharedDirectory', () => {
  test('throws system errors', () => {
    expect(() => fileSystem.createSharedDirectory('/nowhere/at/all', 1, 1, 1, 1000)).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'open', path: '/nowhere/at/all' }),
    )
    fs.writeFileSync(path.join(scratch, 'file'), '')
    expect(() => fileSystem.createSharedDirectory(path.join(scratch, 'file'), 1, 1, 1, 1000)).toThrow(
      expect.objectContaining({ code: 'ENOTDIR' }),
    )
    expect(() => fileSystem.createSharedDirectory('a\0b', 1, 1, 1, 1000)).toThrow(TypeError)
  })
})

test('an unknown directory number throws', () => {
  for (const id of [-1, 1023, 1024, 1e9, 1.5, Number.NaN]) {
    expect(() => fileSystem.reset(id)).toThrow(RangeError)
    expect(() => operate('link', { directory: id, nodeid: 1, nameLength: 4 }, name)).toThrow(RangeError)
  }
})

test('names and replies that leave their arrays throw', () => {
  const link = (nameOffset: number, nameLength: number) => () =>
    operate('link', { directory, nodeid: 1, otherNodeid: 1, nameOffset, nameLength }, name)
  for (const [offset, length] of [
    [0, 5],
    [6, 0],
    [2 ** 53, 2],
    [-1, 2],
    [0.5, 2],
    [0, Number.NaN],
  ] as const)
    expect(link(offset, length)).toThrow(RangeError)
  const statfs = (replyOffset: number, bytes: number) => () =>
    operate('statfs', { directory, nodeid: 1, replyOffset }, name, new Uint8Array(bytes))
  expect(statfs(512 - 79, 512)).toThrow(RangeError)
  expect(statfs(0, 79)).toThrow(RangeError)
  const readlink = { directory, nodeid: 1, replyOffset: 500, replySize: 13 }
  expect(() => operate('readlink', readlink)).toThrow(RangeError)
})

test('a record of another length throws', () => {
  for (const length of [0, FIELDS - 1, FIELDS + 1])
    expect(() => operations.statfs(new Float64Array(length), name, name)).toThrow(RangeError)
})

test.each(['\0', '.\0', '..\0', '/\0', 'a/b\0', 'a/\0', 'a\0b\0', 'abc', `${'x'.repeat(256)}\0`])(
  'the name %j is no component, and is refused here too',
  (text) => {
    const bytes = Buffer.from(text, 'latin1')
    // A directory gets no second name: EPERM.
    const entry = { directory, nodeid: 1, otherNodeid: 1, nameLength: bytes.length - 1 }
    expect(operate('link', entry, bytes)).toBe(-Errno.EINVAL)
  },
)

test('nodeids and handles of any size are merely unknown', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.double(), fc.constantFrom(2 ** 53, 2 ** 63, 2 ** 64, Infinity, -1, Number.NaN)),
      (number) => {
        fc.pre(Math.trunc(number) !== 1)
        expect(operate('statfs', { directory, nodeid: number })).toBe(-Errno.ESTALE)
        expect(operate('lseek', { directory, nodeid: 1, fh: number, type: SEEK_DATA })).toBe(-Errno.EBADF)
        expect(operate('link', { directory, nodeid: 1, otherNodeid: number, nameLength: 4 }, name)).toBe(-Errno.ESTALE)
      },
    ),
  )
  expect(operate('statfs', { directory, nodeid: 1 })).toBe(0)
})

test('any argument of a wrong type throws, and nothing crashes', () => {
  const junk = fc.oneof(
    fc.constantFrom(undefined, null, '', 'text', {}, [], true, -1, 1.5, 2 ** 40, Number.NaN, new Uint8Array(3)),
    fc.constantFrom(new ArrayBuffer(8), new Uint16Array(4), 1n, Symbol.iterator),
  )
  const skipped = new Set(['setDescriptorLimit', 'attachThread'])
  const setUp = Object.entries(fileSystem).filter(([operation]) => !skipped.has(operation))
  const calls: [string, (...parameters: never[]) => unknown][] = [...setUp, ...Object.entries(operations)]
  expect(calls.length).toBeGreaterThan(20)
  // Any numbers at the places of a record, below the directory's.
  const numbers = fc.array(fc.oneof(fc.nat(), fc.double()), { minLength: FIELDS - 1, maxLength: FIELDS - 1 })
  const first = fc.oneof(
    fc.constant(directory),
    numbers.map((rest) => Float64Array.of(directory, ...rest)),
  )
  fc.assert(
    fc.property(fc.constantFrom(...calls), first, fc.array(junk, { maxLength: 6 }), ([, call], begin, parameters) => {
      let outcome: unknown
      try {
        outcome = Reflect.apply(call, fileSystem, [begin, ...parameters])
      } catch (error) {
        outcome = error
      }
      const allowed = typeof outcome === 'number' || outcome === undefined || outcome instanceof Error
      expect(allowed).toBe(true)
    }),
    { numRuns: 3000 },
  )
})

test('the array is not kept: garbage collection may take it while the directory lives', () => {
  for (let index = 0; index < 1000; index++) {
    expect(operate('statfs', { directory, nodeid: 1 }, name, new Uint8Array(80))).toBe(0)
  }
})
