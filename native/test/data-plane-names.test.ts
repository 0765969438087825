// SPDX-License-Identifier: Apache-2.0
/** What makes, removes, renames and changes: the data plane on names, sizes, flags and extensions that are none, without a ring. */
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseInHeader, FuseRename2In, FuseSetattrValid } from '../../server/fuse/abi.ts'
import { concat, encodeLabel, type HeaderFields, requests } from '../../server/fuse/testing/messages.ts'
import { fileSystem } from '../index.ts'
import { MessageServer } from '../testing/index.ts'
import { LINUX_INIT_FLAGS, LINUX_INIT_FLAGS2, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const { O_RDWR } = fs.constants
const FILES = ['dir', 'file']

let bench: PassthroughBench
let plane: MessageServer
beforeEach(() => {
  bench = new PassthroughBench({ securityLabel: 'always' })
  plane = new MessageServer(bench.directory)
  fs.writeFileSync(bench.at('file'), 'contents')
  fs.mkdirSync(bench.at('dir'))
})
afterEach(() => {
  bench[Symbol.dispose]()
})

/** @returns the error, 0 or negative */
function serve(message: Uint8Array): number {
  const reply = new Uint8Array(4096)
  expect(plane.serve(message, reply)).toBeGreaterThanOrEqual(16)
  return new DataView(reply.buffer).getInt32(4, true)
}

/** Nothing has been made, removed, renamed or opened. */
function expectNothing(): void {
  expect(fs.readdirSync(bench.path).toSorted()).toEqual(FILES)
  expect([bench.inodes, bench.handles]).toEqual([1, 0])
}

type Name = string | Uint8Array

const makers = {
  CREATE: (name: Name, by: HeaderFields = {}) => requests.create(ROOT, name, O_RDWR, 0o644, 0, by),
  MKDIR: (name: Name, by: HeaderFields = {}) => requests.mkdir(ROOT, name, 0o755, 0, by),
  MKNOD: (name: Name, by: HeaderFields = {}) => requests.mknod(ROOT, name, 0o10644, 0, 0, by),
  SYMLINK: (name: Name, by: HeaderFields = {}) => requests.symlink(ROOT, name, 'target', by),
}

/** The names of what has been made. */
function made(): Buffer[] {
  return fs.readdirSync(bench.path, { encoding: 'buffer' }).filter((name) => !FILES.includes(name.toString()))
}

describe('names', () => {
  const users: Record<string, (name: Name) => Uint8Array> = {
    ...makers,
    UNLINK: (name) => requests.unlink(ROOT, name),
    RMDIR: (name) => requests.rmdir(ROOT, name),
    'RENAME of': (name) => requests.rename(ROOT, name, ROOT, 'new'),
    'RENAME to': (name) => requests.rename(ROOT, 'file', ROOT, name),
    'RENAME2 of': (name) => requests.rename2(ROOT, name, ROOT, 'new', 0),
    'RENAME2 to': (name) => requests.rename2(ROOT, 'file', ROOT, name, 0),
  }

  test.each(Object.entries(users))('%s what is no component', (_, using) => {
    for (const name of ['', '.', '..', 'a/b', '/', 'dir/', '/file', 'dir/../file'])
      expect([name, serve(using(name))]).toEqual([name, -Errno.EINVAL])
    expect(serve(using('x'.repeat(256)))).toBe(-Errno.ENAMETOOLONG)
    expectNothing()
  })

  test('any bytes but NUL and the slash', () => {
    const bytes = Uint8Array.from({ length: 255 }, (_, index) => (index + 1 === 0x2f ? 0xff : index + 1))
    for (const make of Object.values(makers)) {
      expect(serve(make(bytes))).toBe(0)
      expect(made()).toEqual([Buffer.from(bytes)])
      expect(serve(requests.rename(ROOT, bytes, ROOT, 'other'))).toBe(0)
      expect(serve(requests.rename2(ROOT, 'other', ROOT, bytes, 0))).toBe(0)
      expect(serve((make === makers.MKDIR ? requests.rmdir : requests.unlink)(ROOT, bytes))).toBe(0)
      expect(made()).toEqual([])
    }
  })

  test('a symbolic link leads to any bytes, of which there are not too many', () => {
    expect(serve(requests.symlink(ROOT, 'link', ''))).toBe(-Errno.EINVAL)
    expect(serve(requests.symlink(ROOT, 'link', '/'.repeat(4096)))).toBe(-Errno.ENAMETOOLONG)
    expectNothing()
    expect(serve(requests.symlink(ROOT, 'link', '/'.repeat(4095)))).toBe(0)
    expect(fs.readlinkSync(bench.at('link'))).toBe('/'.repeat(4095))
    const bytes = Uint8Array.of(0xff, 0x2f, 0x2e, 0x2e, 0x01)
    expect(serve(requests.symlink(ROOT, 'bytes', bytes))).toBe(0)
    expect(fs.readlinkSync(bench.at('bytes'), { encoding: 'buffer' })).toEqual(Buffer.from(bytes))
  })
})

test('flags of a renaming that are unknown', () => {
  for (const flags of [8, 9, 0x8000_0000, 0xffff_ffff])
    expect(serve(requests.rename2(ROOT, 'file', ROOT, 'new', flags))).toBe(-Errno.EINVAL)
  expectNothing()
  expect(serve(requests.rename2(ROOT, 'file', ROOT, 'dir', 1))).toBe(-Errno.EEXIST)
  expect(serve(requests.rename2(ROOT, 'file', ROOT, 'dir', 2))).toBe(0)
  expect(fs.statSync(bench.at('file')).isDirectory()).toBe(true)
})

test('a whiteout is the caller’s, and nobody’s who is forbidden', () => {
  const renaming = requests.rename2(ROOT, 'file', ROOT, 'new', 4)
  const by = (uid: number): Uint8Array => {
    new DataView(renaming.buffer).setUint32(FuseInHeader.uid, uid, true)
    return renaming
  }
  const none = new Uint32Array(0)
  fileSystem.setIds(bench.directory, none, none, Uint32Array.of(1000, 1, 2000, 0, 66, 1, 0, 2), none)
  expect(serve(by(66))).toBe(-Errno.EPERM)
  expectNothing()
  expect(serve(by(1000))).toBe(0)
  expect(fs.lstatSync(bench.at('file'))).toMatchObject({ uid: 2000, rdev: 0 })
  expect(fs.readFileSync(bench.at('new'), 'utf8')).toBe('contents')
  // Other renamings make nothing, so whose they are is no matter.
  new DataView(renaming.buffer).setUint32(FuseInHeader.SIZE + FuseRename2In.flags, 1, true)
  fs.unlinkSync(bench.at('new'))
  expect(serve(by(66))).toBe(0)
})

test('sizes beyond the end of any file', () => {
  const { nodeid } = bench.lookup('file')
  const valid = FuseSetattrValid.SIZE
  for (const size of [1n << 63n, (1n << 64n) - 1n, (1n << 63n) - 1n])
    expect(serve(requests.setattr(nodeid, { valid, size }))).toBe(-Errno.EFBIG)
  expect(fs.readFileSync(bench.at('file'), 'utf8')).toBe('contents')
  // It means nothing where it is not given.
  expect(serve(requests.setattr(nodeid, { valid: FuseSetattrValid.MODE, mode: 0o600, size: 1n << 63n }))).toBe(0)
  expect(serve(requests.setattr(nodeid, { valid, size: (1n << 32n) + 1n }))).toBe(0)
  expect(fs.statSync(bench.at('file')).size).toBe(2 ** 32 + 1)
})

/** A request whose extensions are `bytes`. */
function extended(make: (name: Name) => Uint8Array, bytes: Uint8Array): Uint8Array {
  const message = concat(make('new'), bytes)
  const view = new DataView(message.buffer)
  view.setUint32(FuseInHeader.len, message.length, true)
  view.setUint16(FuseInHeader.total_extlen, bytes.length / 8, true)
  return message
}
const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
/** An extension with a security context, and its padding. */
function context(valueSize: number, name: Uint8Array, count = 1): Uint8Array {
  const length = 16 + name.length
  return concat(words(length, count), words(valueSize, 0), name, new Uint8Array(-length & 7))
}

describe('extensions', () => {
  const making = {
    ...makers,
    TMPFILE: (_name: Name, by: HeaderFields = {}) => requests.tmpfile(ROOT, O_RDWR, 0o600, by),
  }
  const label = { name: 'security.selinux', value: new TextEncoder().encode('label') }

  test.each(Object.entries(making))('%s with groups, with a label, and with what is not known', (_, make) => {
    for (const [index, by] of [
      {},
      { groups: [] },
      { groups: [9] },
      { groups: [9, 0xffff_fffe, 11, 12] },
      { label },
      { label, groups: [7] },
    ].entries())
      expect([by, serve(make(`new-${index}`, by))]).toEqual([by, 0])
    // Empty ones, two after another, and no contexts.
    for (const bytes of [words(8, 33), words(9, 77, 1, 0), words(8, 33, 12, 32, 0, 0), words(8, 0)]) {
      fs.rmSync(bench.at('new'), { recursive: true, force: true })
      expect([bytes, serve(extended(make, bytes))]).toEqual([bytes, 0])
    }
  })

  const malformed: readonly [string, Uint8Array][] = [
    ['one more group than there is', words(16, 32, 2, 9)],
    ['more groups than can be counted', words(16, 32, 0xffff_ffff, 9)],
    ['as many groups as overflow', words(16, 32, 0x4000_0001, 9)],
    ['no room for the count', words(8, 32)],
    ['shorter than its header', words(7, 32, 1, 9)],
    ['empty', words(0, 32, 1, 9)],
    ['longer than all', words(24, 32, 1, 9)],
    ['longer than anything', words(0xffff_fffc, 32, 1, 9)],
    ['two contexts', context(0, text('security.selinux\0'), 2)],
    ['the most contexts', context(0, text('security.selinux\0'), 31)],
    ['no room for a context', words(12, 1, 0, 0)],
    ['a name without end', context(0, text('security'))],
    ['no name', context(0, text('\0'))],
    ['a value that is not there', context(1, text('security.selinux\0'))],
    ['a value beyond everything', context(0xffff_ffff, text('security.selinux\0value'))],
    ['a second one that is wrong', words(8, 33, 4, 32)],
  ]
  test.each(malformed)('%s', (_, bytes) => {
    for (const [name, make] of Object.entries(making))
      expect([name, serve(extended(make, bytes))]).toEqual([name, -Errno.EINVAL])
    expectNothing()
  })

  test('more than the request has, or than the operation leaves', () => {
    for (const [name, make] of Object.entries(making)) {
      const message = make('new', { groups: [9] })
      for (const units of [0xffff, Math.floor((message.length - 40) / 8) + 1, Math.floor((message.length - 40) / 8)]) {
        new DataView(message.buffer).setUint16(FuseInHeader.total_extlen, units, true)
        expect([name, units, serve(message)]).toEqual([name, units, -Errno.EINVAL])
      }
    }
    expectNothing()
  })

  test('a label whose name is too long for one', () => {
    for (const make of Object.values(making))
      expect(serve(extended(make, context(0, text(`${'x'.repeat(256)}\0`))))).toBe(-Errno.ERANGE)
    expectNothing()
  })

  test('a label that can’t be had leaves nothing behind', () => {
    for (const impossible of [
      { name: 'security.unknown', value: label.value },
      { name: label.name, value: new Uint8Array(65_537) },
    ])
      for (const make of Object.values(making)) expect(serve(make('new', { label: impossible }))).toBeLessThan(0)
    expectNothing()
  })

  test('are padding to guests before 7.38, which leave anything there', () => {
    bench.body(requests.init({ minor: 37, flags: LINUX_INIT_FLAGS, flags2: LINUX_INIT_FLAGS2 }))
    for (const make of Object.values(making)) {
      fs.rmSync(bench.at('new'), { recursive: true, force: true })
      const message = make('new')
      new DataView(message.buffer).setUint16(FuseInHeader.total_extlen, 0xffff, true)
      expect(serve(message)).toBe(0)
    }
    // Where the label stands then is behind the names. TMPFILE has none.
    const { MKDIR, SYMLINK } = makers
    for (const make of [MKDIR, SYMLINK]) {
      const cut = extended(make, encodeLabel(label).subarray(0, 12))
      expect(serve(cut)).toBe(-Errno.EINVAL)
    }
  })
})
