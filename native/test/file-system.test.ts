// SPDX-License-Identifier: Apache-2.0
/** The addon's fileSystem against its caller's mistakes: wrong types and ranges throw, everything else is an errno. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { fileSystem } from '../index.ts'

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
const reply = new Uint8Array(512)

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
    expect(() => fileSystem.unlink(id, 1, name, 0, 4)).toThrow(RangeError)
  }
})

test('names and replies that leave their arrays throw', () => {
  expect(() => fileSystem.unlink(directory, 1, name, 0, 5)).toThrow(RangeError)
  expect(() => fileSystem.unlink(directory, 1, name, 6, 0)).toThrow(RangeError)
  expect(() => fileSystem.unlink(directory, 1, name, 2 ** 53, 2)).toThrow(RangeError)
  expect(() => fileSystem.unlink(directory, 1, name, -1, 2)).toThrow(RangeError)
  expect(() => fileSystem.statfs(directory, 1, reply, 512 - 79)).toThrow(RangeError)
  expect(() => fileSystem.statfs(directory, 1, new Uint8Array(79), 0)).toThrow(RangeError)
  expect(() => fileSystem.readlink(directory, 1, reply, 500, 13)).toThrow(RangeError)
})

/** What operations answer to a name. */
function answers(text: string): number[] {
  const bytes = Buffer.from(text, 'latin1')
  const length = bytes.length - 1
  return [
    fileSystem.unlink(directory, 1, bytes, 0, length),
    fileSystem.rename(directory, 1, bytes, 0, length, 1, bytes, 0, length, 0, 0, 0, 0, bytes, 0, 0),
    fileSystem.mkdir(directory, 1, bytes, 0, length, 0o755, 0, 0, 0, bytes, 0, 0, reply, 0),
  ]
}

test.each(['\0', '.\0', '..\0', '/\0', 'a/b\0', 'a/\0', 'a\0b\0', 'abc', `${'x'.repeat(256)}\0`])(
  'the name %j is no component, and is refused here too',
  (text) => {
    expect(answers(text)).toEqual(Array(3).fill(-Errno.EINVAL))
  },
)

test('nodeids, handles and counts of any size are merely unknown', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.double(), fc.constantFrom(2 ** 53, 2 ** 63, 2 ** 64, Infinity, -1, Number.NaN)),
      (number) => {
        fc.pre(Math.trunc(number) !== 1)
        expect(fileSystem.statfs(directory, number, reply, 0)).toBe(-Errno.ESTALE)
        expect(fileSystem.release(directory, 1, number)).toBe(-Errno.EBADF)
        fileSystem.forget(directory, 1, number)
        fileSystem.forget(directory, number, number)
      },
    ),
  )
  expect(fileSystem.statfs(directory, 1, reply, 0)).toBe(0)
})

test('any argument of a wrong type throws, and nothing crashes', () => {
  const junk = fc.oneof(
    fc.constantFrom(undefined, null, '', 'text', {}, [], true, -1, 1.5, 2 ** 40, Number.NaN, new Uint8Array(3)),
    fc.constantFrom(new ArrayBuffer(8), new Uint16Array(4), 1n, Symbol.iterator),
  )
  const skipped = new Set(['closeMappingFile', 'setDescriptorLimit', 'attachThread'])
  const operations = Object.entries(fileSystem).filter(([operation]) => !skipped.has(operation))
  expect(operations.length).toBeGreaterThan(30)
  fc.assert(
    fc.property(fc.constantFrom(...operations), fc.array(junk, { maxLength: 14 }), ([, call], parameters) => {
      let outcome: unknown
      try {
        outcome = Reflect.apply(call, fileSystem, [directory, ...parameters])
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
    expect(fileSystem.statfs(directory, 1, new Uint8Array(80), 0)).toBe(0)
  }
})
