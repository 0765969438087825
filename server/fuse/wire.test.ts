// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Errno } from '../errno.ts'
import * as abi from './abi.ts'
import { decodeStruct, encodeStruct, type Layout } from './testing/messages.ts'
import { decodeComponent, decodeString, getI64, getU64, isSafeOffset, setU64, WireBytes } from './wire.ts'

const view = new DataView(new ArrayBuffer(16))

test('64-bit integers survive as they are up to 2^53', () => {
  fc.assert(
    fc.property(fc.integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }), (value) => {
      setU64(view, 3, value)
      expect(view.getBigInt64(3, true)).toBe(BigInt(value))
      expect(getI64(view, 3)).toBe(value)
      expect(getU64(view, 3)).toBe(Number(BigInt.asUintN(64, BigInt(value))))
    }),
  )
})

test('larger ones are never taken for a safe offset', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n << 53n, max: (1n << 64n) - 1n }), (value) => {
      view.setBigUint64(0, value, true)
      expect(isSafeOffset(getU64(view, 0))).toBe(false)
    }),
  )
})

test('components end at the NUL or are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), (bytes, start) => {
      const nul = bytes.indexOf(0, start)
      const raw = nul < 0 ? bytes : bytes.slice(start, nul)
      const text = Buffer.from(raw).toString('latin1')
      const name = new WireBytes()
      const result = decodeComponent(bytes, start, bytes.length, name)
      const invalid = nul < 0 || ['', '.', '..'].includes(text) || raw.includes(0x2f)
      const outcome = result < 0 ? result : [result, name.copy()]
      expect(outcome).toEqual(invalid ? -Errno.EINVAL : raw.length > 255 ? -Errno.ENAMETOOLONG : [nul + 1, raw])
    }),
  )
})

test('strings may hold anything but a NUL', () => {
  const string = new WireBytes()
  const bytes = new TextEncoder().encode('../a/b\0rest')
  expect(decodeString(bytes, 0, bytes.length, 6, Errno.ERANGE, string)).toBe(7)
  expect(Buffer.from(string.copy()).toString()).toBe('../a/b')
  expect(decodeString(bytes, 0, bytes.length, 5, Errno.ERANGE, string)).toBe(-Errno.ERANGE)
  expect(decodeString(bytes, 0, 6, 6, Errno.ERANGE, string)).toBe(-Errno.EINVAL)
  expect(decodeString(bytes, 6, bytes.length, 6, Errno.ERANGE, string)).toBe(-Errno.EINVAL)
})

const layouts: [string, Layout][] = [
  ['FuseInHeader', abi.FuseInHeader],
  ['FuseAttr', abi.FuseAttr],
  ['FuseSetattrIn', abi.FuseSetattrIn],
  ['FuseReadIn', abi.FuseReadIn],
  ['FuseWriteIn', abi.FuseWriteIn],
  ['FuseCreateIn', abi.FuseCreateIn],
  ['FuseSetupmappingIn', abi.FuseSetupmappingIn],
  ['FuseRemovemappingOne', abi.FuseRemovemappingOne],
  ['FuseCopyFileRangeIn', abi.FuseCopyFileRangeIn],
]

test.each(layouts)('%s round trips', (_, layout) => {
  const fields = Object.keys(layout).filter((field) => field !== 'SIZE')
  fc.assert(
    fc.property(fc.uint8Array({ minLength: layout.SIZE, maxLength: layout.SIZE }), (bytes) => {
      // 52 bits of each u64, so that numbers are exact.
      for (const field of fields) {
        const end = layout[field] ?? 0
        if (end % 8 === 0) bytes.set([bytes[end + 6] ?? 0 & 0x0f, 0], end + 6 < bytes.length - 1 ? end + 6 : 0)
      }
      const decoded = decodeStruct(layout, bytes)
      const safe = Object.fromEntries(
        Object.entries(decoded).map(([field, value]) => [field, Math.min(value, 2 ** 52)]),
      )
      expect(decodeStruct(layout, encodeStruct(layout, safe))).toEqual(safe)
    }),
  )
})

test('golden requests', () => {
  const setattr = encodeStruct(abi.FuseSetattrIn, {
    valid: 0x18,
    size: 0x1_0000_0002,
    atime: -1n,
    mode: 0o100644,
    gid: 7,
  })
  expect(Buffer.from(setattr).toString('hex')).toBe(
    [
      '1800000000000000', // valid, padding
      '0000000000000000', // fh
      '0200000001000000', // size
      '0000000000000000', // lock_owner
      'ffffffffffffffff', // atime
      '00000000000000000000000000000000', // mtime, ctime
      '000000000000000000000000', // nanoseconds
      'a4810000', // mode
      '00000000000000000700000000000000', // unused4, uid, gid, unused5
    ].join(''),
  )
  const mapping = encodeStruct(abi.FuseSetupmappingIn, {
    fh: 0xffff_ffff_ffff_ffffn,
    foffset: 0x20_0000,
    len: 0x20_0000,
    flags: 3,
    moffset: 0x40_0000,
  })
  expect(Buffer.from(mapping).toString('hex')).toBe(
    ['ffffffffffffffff', '0000200000000000', '0000200000000000', '0300000000000000', '0000400000000000'].join(''),
  )
})
