// SPDX-License-Identifier: Apache-2.0
/** The data plane on well-formed and malformed requests, without a ring: what it refuses, and that it then does nothing. */
import fs from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseCreateIn, FuseOpcode, FuseSetattrValid } from '../../server/fuse/abi.ts'
import { DATA_PLANE } from '../../server/fuse/services.ts'
import { concat, encodeRequest, encodeStruct, requests } from '../../server/fuse/testing/messages.ts'
import { fileSystem } from '../index.ts'
import { MessageServer } from '../testing/index.ts'
import { PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const ASK = -1
/** No id, to chown. */
const NO_ID = 0xffff_ffff
const NO_RANGES = new Uint32Array(0)
const SILENT: ReadonlySet<string> = new Set(['FORGET', 'BATCH_FORGET'])

let bench: PassthroughBench
let plane: MessageServer
let samples: Record<string, Uint8Array>
beforeEach(() => {
  bench = new PassthroughBench()
  plane = new MessageServer(bench.directory)
  fs.writeFileSync(bench.at('file'), 'contents')
  fs.writeFileSync(bench.at('old'), '')
  fs.mkdirSync(bench.at('empty'))
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
    CREATE: requests.create(ROOT, 'created', fs.constants.O_RDWR, 0o644),
    // The name that Linux sends means nothing.
    TMPFILE: encodeRequest(FuseOpcode.TMPFILE, { nodeid: ROOT }, encodeStruct(FuseCreateIn, { flags: 2, mode: 0o600 })),
    MKDIR: requests.mkdir(ROOT, 'made', 0o755),
    MKNOD: requests.mknod(ROOT, 'fifo', 0o10644),
    SYMLINK: requests.symlink(ROOT, 'link', '../target'),
    UNLINK: requests.unlink(ROOT, 'file'),
    RMDIR: requests.rmdir(ROOT, 'empty'),
    RENAME: requests.rename(ROOT, 'old', ROOT, 'older'),
    RENAME2: requests.rename2(ROOT, 'older', ROOT, 'oldest', 1),
    SETATTR: requests.setattr(nodeid, { valid: FuseSetattrValid.MODE | FuseSetattrValid.SIZE, mode: 0o600, size: 3 }),
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

/** What stands in the directory. */
function describeFiles(): unknown[] {
  return fs
    .readdirSync(bench.path)
    .toSorted()
    .map((name) => {
      const { ino, mode, nlink, size } = fs.lstatSync(bench.at(name))
      return [name, ino, mode, nlink, size]
    })
}

test('there is a sample of everything that it serves', () => {
  const names = Object.entries(FuseOpcode).flatMap(([name, opcode]) => (DATA_PLANE.has(opcode) ? [name] : []))
  expect(Object.keys(samples).toSorted()).toEqual(names.toSorted())
})

test('what is made, removed, renamed and changed whole', () => {
  for (const [name, size] of [
    ['SETATTR', 104],
    ['CREATE', 144],
    ['TMPFILE', 144],
    ['MKDIR', 128],
    ['MKNOD', 128],
    ['SYMLINK', 128],
    ['UNLINK', 0],
    ['RMDIR', 0],
    ['RENAME', 0],
    ['RENAME2', 0],
  ] as const)
    expect([name, serve(samples[name] ?? new Uint8Array(0))]).toEqual([name, { size: 16 + size, error: 0 }])
  expect(fs.readdirSync(bench.path).toSorted()).toEqual(['created', 'fifo', 'link', 'made', 'oldest'])
  // Two of the five have no name; the guest knows the root and the unlinked file besides.
  expect([bench.inodes, bench.handles]).toEqual([7, 3])
})

test('a request that is cut off anywhere is refused', () => {
  const before = describeFiles()
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
  expect([bench.inodes, bench.handles]).toEqual([2, 1])
  expect(fs.readFileSync(bench.at('file'), 'utf8')).toBe('contents')
  expect(describeFiles()).toEqual(before)
})

test('a reply buffer that is too small: nothing is done', () => {
  const before = describeFiles()
  for (const name of [
    'LOOKUP',
    'GETATTR',
    'OPEN',
    'OPENDIR',
    'READ',
    'WRITE',
    'COPY_FILE_RANGE',
    'COPY_FILE_RANGE_64',
    'SETATTR',
    'CREATE',
    'TMPFILE',
    'MKDIR',
    'MKNOD',
    'SYMLINK',
  ]) {
    const message = samples[name] ?? new Uint8Array(0)
    expect([name, serve(message, 16 + 7)]).toEqual([name, { size: 16, error: -Errno.EINVAL }])
    // Nobody could be told.
    expect([name, serve(message, 15)]).toEqual([name, { size: 0, error: 0 }])
  }
  for (const name of ['UNLINK', 'RMDIR', 'RENAME', 'RENAME2'])
    expect([name, serve(samples[name] ?? new Uint8Array(0), 15)]).toEqual([name, { size: 0, error: 0 }])
  expect([bench.inodes, bench.handles]).toEqual([2, 1])
  expect(describeFiles()).toEqual(before)
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
  fileSystem.setIds(bench.directory, uids, Uint32Array.of(0, 4_000_000_000, 7, 1), NO_RANGES, NO_RANGES)
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

test('the host has ids as the ranges say, at their edges', () => {
  // First, count, the host's, and what becomes of the others: they follow, become the same, or are forbidden.
  const ranges = [
    [1000, 10, 5000, 0],
    [2000, 2, 7, 1],
    [3000, 1, 0, 2],
    [50_000, 100, 60_000, 0],
  ]
  const uids = Uint32Array.from(ranges.flat())
  fileSystem.setIds(bench.directory, NO_RANGES, NO_RANGES, uids, NO_RANGES)
  fs.chmodSync(bench.path, 0o777)
  const { nodeid } = bench.lookup('file')
  /** @returns the owner of what `message` has made or changed, or its error */
  const owner = (message: Uint8Array, name: string, field: 'uid' | 'gid'): number => {
    const { error } = serve(message)
    return error === 0 ? fs.lstatSync(bench.at(name))[field] : error
  }
  const ids = [999, 1000, 1009, 1010, 1999, 2000, 2001, 2002, 2999, 3000, 3001, 50_000, 50_099, 50_100]
  const expected = [999, 5000, 5009, 1010, 1999, 7, 7, 2002, 2999, -Errno.EPERM, 3001, 60_000, 60_099, 50_100]
  const made = (id: number, by: 'uid' | 'gid'): number =>
    owner(requests.mkdir(ROOT, `${by}-${id}`, 0o755, 0, { [by]: id }), `${by}-${id}`, by)
  const given = (id: number, to: 'uid' | 'gid', valid: number): number =>
    owner(requests.setattr(nodeid, { valid, [to]: id }), 'file', to)
  expect(ids.map((id) => made(id, 'uid'))).toEqual(expected)
  expect(ids.map((id) => given(id, 'uid', FuseSetattrValid.UID))).toEqual(expected)
  // One kind of id says nothing about the other.
  expect(ids.map((id) => made(id, 'gid'))).toEqual(ids)
  expect(ids.map((id) => given(id, 'gid', FuseSetattrValid.GID))).toEqual(ids)
  fileSystem.setIds(bench.directory, NO_RANGES, NO_RANGES, NO_RANGES, uids)
  expect(ids.map((id) => given(id, 'gid', FuseSetattrValid.GID))).toEqual(expected)
  expect(given(3000, 'uid', FuseSetattrValid.UID)).toBe(3000)
  expect(fs.readdirSync(bench.path)).not.toContain('uid-3000')
})

test('no id stays none, even where all are squashed', () => {
  const all = Uint32Array.of(0, NO_ID, 1001, 1)
  fileSystem.setIds(bench.directory, NO_RANGES, NO_RANGES, all, all)
  const { nodeid } = bench.lookup('file')
  const valid = FuseSetattrValid.UID | FuseSetattrValid.GID
  for (const id of [0, NO_ID - 1]) {
    fs.chownSync(bench.at('file'), 5, 6)
    expect(serve(requests.setattr(nodeid, { valid, uid: id, gid: id })).error).toBe(0)
    expect(fs.statSync(bench.at('file'))).toMatchObject({ uid: 1001, gid: 1001 })
  }
  fs.chownSync(bench.at('file'), 5, 6)
  expect(serve(requests.setattr(nodeid, { valid, uid: NO_ID, gid: NO_ID })).error).toBe(0)
  expect(fs.statSync(bench.at('file'))).toMatchObject({ uid: 5, gid: 6 })
  // Nobody can make something as no one.
  expect(serve(requests.mkdir(ROOT, 'nobodys', 0o755, 0, { uid: NO_ID })).error).toBe(-Errno.EINVAL)
  expect(serve(requests.mkdir(ROOT, 'everybodys', 0o755, 0, { uid: NO_ID - 1, gid: 3 })).error).toBe(0)
  expect(fs.statSync(bench.at('everybodys'))).toMatchObject({ uid: 1001, gid: 1001 })
  expect(fs.readdirSync(bench.path)).not.toContain('nobodys')
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
