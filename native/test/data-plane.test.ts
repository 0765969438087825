// SPDX-License-Identifier: Apache-2.0
/** The data plane on well-formed and malformed requests, without a ring: what it refuses, and that it then does nothing. */
import fs from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseOpcode } from '../../server/fuse/abi.ts'
import { DATA_PLANE } from '../../server/fuse/services.ts'
import { concat, requests } from '../../server/fuse/testing/messages.ts'
import { fileSystem } from '../index.ts'
import { MessageServer } from '../testing/index.ts'
import { PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const ASK = -1
const SILENT: ReadonlySet<string> = new Set(['FORGET', 'BATCH_FORGET'])

let bench: PassthroughBench
let plane: MessageServer
let samples: Record<string, Uint8Array>
beforeEach(() => {
  bench = new PassthroughBench()
  plane = new MessageServer(bench.directory)
  fs.writeFileSync(bench.at('file'), 'contents')
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, fs.constants.O_RDWR)
  samples = {
    LOOKUP: requests.lookup(ROOT, 'file'),
    FORGET: requests.forget(nodeid, 0),
    GETATTR: requests.getattr(nodeid),
    OPEN: requests.open(nodeid, fs.constants.O_RDWR | fs.constants.O_TRUNC),
    OPENDIR: requests.opendir(ROOT),
    SETUPMAPPING: requests.setupmapping(nodeid, 0, 4096, 0, 2),
    REMOVEMAPPING: requests.removemapping([[0, 4096]]),
    READ: requests.read(nodeid, fh, 0, 100),
    WRITE: requests.write(nodeid, fh, 0, Buffer.from('contents')),
    FLUSH: requests.flush(nodeid, fh),
    FSYNC: requests.fsync(nodeid, fh),
    FSYNCDIR: requests.fsyncdir(ROOT, fh + 1000),
    SYNCFS: requests.syncfs(ROOT),
    FALLOCATE: requests.fallocate(nodeid, fh, 0, 0, 100),
    COPY_FILE_RANGE: requests.copyFileRange(nodeid, {
      fh_in: fh,
      nodeid_out: nodeid,
      fh_out: fh,
      off_out: 100,
      len: 8,
    }),
    COPY_FILE_RANGE_64: requests.copyFileRange(nodeid, { len: 8 }, FuseOpcode.COPY_FILE_RANGE_64),
    RELEASE: requests.release(nodeid, fh + 1000),
    READDIR: requests.readdir(ROOT, fh, 0, 1000),
    READDIRPLUS: requests.readdirplus(ROOT, fh, 0, 1000),
    RELEASEDIR: requests.releasedir(ROOT, fh + 1000),
    BATCH_FORGET: requests.batchForget([
      [nodeid, 0],
      [nodeid, 0],
    ]),
  }
})
afterEach(() => {
  bench[Symbol.dispose]()
})

/** @returns the reply's length, 0, or ASK; and its error */
function serve(message: Uint8Array, room = 4096): { size: number; error: number } {
  const reply = new Uint8Array(room)
  const size = plane.serve(message, reply)
  return { size, error: size > 0 ? new DataView(reply.buffer).getInt32(4, true) : 0 }
}

test('there is a sample of everything that it serves', () => {
  const names = Object.entries(FuseOpcode).flatMap(([name, opcode]) => (DATA_PLANE.has(opcode) ? [name] : []))
  expect(Object.keys(samples).toSorted()).toEqual(names.toSorted())
})

test('a request that is cut off anywhere is refused', () => {
  for (const [name, message] of Object.entries(samples)) {
    for (let length = 40; length < message.length; length++) {
      const cut = message.slice(0, length)
      new DataView(cut.buffer).setUint32(0, length, true)
      const { size, error } = serve(cut)
      expect([name, length, size, error]).toEqual([name, length, ...(SILENT.has(name) ? [0, 0] : [16, -Errno.EINVAL])])
    }
    // A header that says more than has come, or less than itself, is for the control plane to refuse.
    for (const length of [0, 39, message.length + 1]) {
      const lying = message.slice()
      new DataView(lying.buffer).setUint32(0, length, true)
      expect([name, serve(lying).size]).toEqual([name, ASK])
    }
  }
  expect(bench.inodes).toBe(2)
  expect(fs.readFileSync(bench.at('file'), 'utf8')).toBe('contents')
})

test('a reply buffer that is too small: nothing is done', () => {
  for (const name of [
    'LOOKUP',
    'GETATTR',
    'OPEN',
    'OPENDIR',
    'READ',
    'WRITE',
    'COPY_FILE_RANGE',
    'COPY_FILE_RANGE_64',
  ]) {
    const message = samples[name] ?? new Uint8Array(0)
    expect([name, serve(message, 16 + 7)]).toEqual([name, { size: 16, error: -Errno.EINVAL }])
    // Nobody could be told.
    expect([name, serve(message, 15)]).toEqual([name, { size: 0, error: 0 }])
  }
})

test('"." and ".." are names of nodeids where that was agreed on', () => {
  fs.mkdirSync(bench.at('directory'))
  const { nodeid } = bench.lookup('directory')
  const dots = (): number[] => ['.', '..'].map((name) => serve(requests.lookup(nodeid, name)).error)
  fileSystem.begin(bench.directory, false, true, false)
  expect(dots()).toEqual([0, 0])
  for (const name of ['', './', '..a/']) expect(serve(requests.lookup(ROOT, name)).error).toBe(-Errno.EINVAL)
  // Does not exist, which the guest may keep: an entry, without nodeid.
  expect(serve(requests.lookup(ROOT, '...'))).toEqual({ size: 144, error: 0 })
  fileSystem.begin(bench.directory, false, false, false)
  expect(dots()).toEqual([-Errno.EINVAL, -Errno.EINVAL])
})

test('names that are no component', () => {
  fileSystem.begin(bench.directory, false, false, false)
  fs.mkdirSync(bench.at('directory'))
  const { nodeid } = bench.lookup('directory')
  for (const name of ['', '.', '..', 'a/b', '/'])
    expect(serve(requests.lookup(nodeid, name))).toEqual({ size: 16, error: -Errno.EINVAL })
  expect(serve(requests.lookup(ROOT, 'x'.repeat(256))).error).toBe(-Errno.ENAMETOOLONG)
  expect(serve(requests.lookup(ROOT, 'x'.repeat(255)))).toEqual({ size: 144, error: 0 })
  // Any bytes but NUL and the slash make a name.
  const bytes = Uint8Array.from({ length: 255 }, (_, index) => (index + 1 === 0x2f ? 0xff : index + 1))
  fs.writeFileSync(Buffer.concat([Buffer.from(`${bench.path}/`), bytes]), '')
  expect(serve(requests.lookup(ROOT, bytes)).error).toBe(0)
})

test('offsets beyond the end of any file', () => {
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, fs.constants.O_RDWR)
  expect(serve(requests.read(nodeid, fh, 1n << 62n, 100))).toEqual({ size: 16, error: 0 })
  expect(serve(requests.read(nodeid, fh, (1n << 64n) - 1n, 100))).toEqual({ size: 16, error: 0 })
  expect(serve(requests.write(nodeid, fh, (1n << 63n) - 1n, new Uint8Array(1))).error).toBe(-Errno.EFBIG)
  expect(serve(requests.write(nodeid, fh, (1n << 64n) - 1n, new Uint8Array(1))).error).toBe(-Errno.EFBIG)
  expect(serve(requests.fallocate(nodeid, fh, 0, 1n << 63n, 1)).error).toBe(-Errno.EFBIG)
  expect(serve(requests.fallocate(nodeid, fh, 0, (1n << 63n) - 1n, 1)).error).toBe(-Errno.EFBIG)
  for (const offsets of [{ off_in: 1n << 63n }, { off_out: 1n << 63n }])
    expect(
      serve(requests.copyFileRange(nodeid, { fh_in: fh, nodeid_out: nodeid, fh_out: fh, len: 1, ...offsets })).error,
    ).toBe(-Errno.EFBIG)
})

test('a READ into too small a reply and a WRITE of more than was sent are refused', () => {
  expect(serve(samples['READ'] ?? new Uint8Array(0), 115).error).toBe(-Errno.EINVAL)
  const write = samples['WRITE']?.slice() ?? new Uint8Array(0)
  new DataView(write.buffer).setUint32(40 + 16, 9, true)
  expect(serve(write).error).toBe(-Errno.EINVAL)
})

test('a BATCH_FORGET whose count does not fit it forgets nothing', () => {
  const { nodeid } = bench.lookup('file')
  const message = requests.batchForget([[nodeid, 1000]])
  new DataView(message.buffer).setUint32(40, 2, true)
  expect(serve(message).size).toBe(0)
  expect(bench.inodes).toBe(2)
  new DataView(message.buffer).setUint32(40, 1, true)
  expect(serve(message).size).toBe(0)
  expect(bench.inodes).toBe(1)
})

test('the guest sees ids as the ranges say, at their edges', () => {
  // First, count, guest's, squash.
  const uids = Uint32Array.from(
    [
      [100, 2, 200, 0],
      [300, 3, 8, 1],
      [60_000, 100, 50_000, 0],
    ].flat(),
  )
  fileSystem.setIds(bench.directory, uids, Uint32Array.of(0, 4_000_000_000, 7, 1))
  const { nodeid } = bench.lookup('file')
  const seen = [99, 100, 101, 102, 299, 300, 302, 303, 60_000, 60_099, 60_100].map((uid) => {
    fs.chownSync(bench.at('file'), uid, uid)
    const { attributes } = bench.lookup('file')
    expect(bench.attributes(requests.getattr(nodeid))).toEqual(attributes)
    expect(attributes.gid).toBe(7)
    return attributes.uid
  })
  expect(seen).toEqual([99, 200, 201, 102, 299, 8, 8, 303, 50_000, 50_099, 60_100])
})

test('no message makes it read beyond its end or leave a reply that is none', () => {
  const opcodes = fc.constantFrom(...DATA_PLANE.keys())
  fc.assert(
    fc.property(
      opcodes,
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 0, max: 400 }),
      (opcode, body, head, room) => {
        const message = concat(new Uint8Array(8), head, body)
        const header = new DataView(message.buffer)
        header.setUint32(0, message.length, true)
        header.setUint32(4, opcode, true)
        header.setUint16(36, (head[0] ?? 0) % 4, true)
        const reply = new Uint8Array(room)
        const size = plane.serve(message, reply)
        expect(size === ASK || size === 0 || (size >= 16 && size <= room)).toBe(true)
        if (size > 0) expect(new DataView(reply.buffer).getUint32(0, true)).toBe(size)
      },
    ),
    { numRuns: 5000 },
  )
})
