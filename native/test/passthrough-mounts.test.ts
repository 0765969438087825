// SPDX-License-Identifier: Apache-2.0
/** Several devices below one share: that no two files look the same to the guest, and that the host can unmount them. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FUSE_ATTR_SUBMOUNT, FuseInitFlag, FuseStatx, FuseStatxOut } from '../../server/fuse/abi.ts'
import { type Entry, requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, LINUX_INIT_FLAGS2, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'
import { Mounts } from './testing/mounts.ts'

const { O_RDONLY } = fs.constants

let mounts: Mounts
let share: string
let bench: PassthroughBench
beforeEach(() => {
  mounts = new Mounts()
  share = path.join(mounts.scratch, 'share')
  fs.mkdirSync(share)
})
afterEach(() => {
  bench[Symbol.dispose]()
  mounts[Symbol.dispose]()
})

const at = (...names: string[]): string => path.join(share, ...names)
const behind = (...names: string[]): string => path.join(mounts.scratch, ...names)

function start(options: Partial<PassthroughOptions> = {}): void {
  bench = new PassthroughBench(options, share)
}

/** Walks from the share's root. */
function walk(...names: string[]): Entry {
  let entry = bench.lookup(names[0] ?? '')
  for (const name of names.slice(1)) entry = bench.lookup(name, entry.nodeid)
  return entry
}

function statxNumber(nodeid: number): bigint {
  const stat = new DataView(bench.body(requests.statx(nodeid, 0x7ff)).slice(FuseStatxOut.stat).buffer)
  return stat.getBigUint64(FuseStatx.ino, true)
}

/** What one directory says of its entries' numbers, however it is asked, is what the entries say of themselves. */
function expectNumbersListed(directory: number): void {
  for (const plus of [false, true]) {
    for (const { name: bytes, ino } of bench.readDirectory(directory, 4096, plus)) {
      const name = Buffer.from(bytes).toString()
      if (name === '.' || name === '..') continue
      const { nodeid, attributes } = bench.lookup(name, directory)
      expect([name, ino]).toEqual([name, attributes.ino])
      expect(bench.attributes(requests.getattr(nodeid)).ino).toBe(attributes.ino)
      expect(statxNumber(nodeid)).toBe(BigInt(attributes.ino))
    }
  }
}

/** Two files with one inode number, on two file systems. */
function twins(): [string, string] {
  for (const name of ['one', 'two']) {
    mounts.tmpfs(behind(name))
    fs.writeFileSync(behind(name, 'file'), name)
  }
  const [one, two] = [behind('one', 'file'), behind('two', 'file')]
  expect(fs.statSync(one).ino).toBe(fs.statSync(two).ino)
  return [one, two]
}

const OPTIONS: [string, Partial<PassthroughOptions>][] = [
  ['announced', {}],
  ['not announced', { announceSubmounts: false }],
  ['by descriptor', { inodeFileHandles: 'never' }],
]

describe.each(OPTIONS)('%s', (_, options) => {
  test('single files from two file systems, and the share’s own', () => {
    const [one, two] = twins()
    mounts.bindFile(one, at('b1'))
    mounts.bindFile(two, at('b2'))
    mounts.bindFile(one, at('again'))
    fs.writeFileSync(at('own'), '')
    start(options)
    expectNumbersListed(ROOT)
    const [b1, b2, again, own] = ['b1', 'b2', 'again', 'own'].map((name) => walk(name).attributes.ino)
    expect(new Set([b1, b2, own]).size).toBe(3)
    expect(again).toBe(b1)
    expect(own).toBe(fs.statSync(at('own')).ino)
    // For the daemon's life, whatever the guest forgets.
    bench.body(requests.destroy())
    bench.send(requests.init({ flags: LINUX_INIT_FLAGS, flags2: LINUX_INIT_FLAGS2 }))
    expect(['b2', 'b1'].map((name) => walk(name).attributes.ino)).toEqual([b2, b1])
  })

  test('an overlay whose layers lie on two file systems', () => {
    for (const name of ['one', 'two', 'three']) mounts.tmpfs(behind(name))
    fs.writeFileSync(behind('one', 'a'), 'A')
    fs.writeFileSync(behind('two', 'b'), 'B')
    fs.mkdirSync(behind('three', 'work'))
    fs.mkdirSync(behind('three', 'upper'))
    const layers = `lowerdir=${behind('one')}:${behind('two')},upperdir=${behind('three', 'upper')}`
    mounts.mount(share, '-t', 'overlay', 'viewfsd-test', '-o', `${layers},workdir=${behind('three', 'work')},xino=off`)
    fs.mkdirSync(at('dir'))
    fs.writeFileSync(at('upper'), 'U')
    expect(fs.statSync(at('a')).ino).toBe(fs.statSync(at('b')).ino)
    start(options)
    expectNumbersListed(ROOT)
    const numbers = ['a', 'b', 'upper', 'dir'].map((name) => walk(name).attributes.ino)
    expect(new Set(numbers).size).toBe(4)
    expect(walk('dir').attributes).toMatchObject({ ino: fs.statSync(at('dir')).ino, flags: 0 })
  })

  test('btrfs subvolumes', () => {
    mounts.disk(share, 'btrfs', 128 * 2 ** 20)
    for (const name of ['home', 'root']) execFileSync('btrfs', ['-q', 'subvolume', 'create', at(name)])
    execFileSync('btrfs', ['-q', 'subvolume', 'create', at('home', 'inner')])
    fs.writeFileSync(at('home', 'a'), 'A')
    fs.writeFileSync(at('root', 'b'), 'B')
    fs.mkdirSync(at('plain'))
    expect(fs.statSync(at('home', 'a')).ino).toBe(fs.statSync(at('root', 'b')).ino)
    start(options)
    const announced = options.announceSubmounts !== false
    const flags = announced ? FUSE_ATTR_SUBMOUNT : 0
    expect([walk('home'), walk('home', 'inner')].map((each) => each.attributes.flags)).toEqual([flags, flags])
    expect([walk('plain'), walk('home', 'a')].map((each) => each.attributes.flags)).toEqual([0, 0])
    for (const nodeid of [ROOT, walk('home').nodeid, walk('home', 'inner').nodeid]) expectNumbersListed(nodeid)
    expect(walk('plain').attributes.ino).toBe(fs.statSync(at('plain')).ino)
    if (announced) {
      // Each in a mount of its own.
      expect(walk('home', 'a').attributes.ino).toBe(fs.statSync(at('home', 'a')).ino)
      return
    }
    const paths = [['home'], ['root'], ['home', 'inner'], ['home', 'a'], ['root', 'b'], ['plain']]
    const numbers = paths.map((names) => walk(...names).attributes.ino)
    const { ino } = bench.attributes(requests.getattr(ROOT))
    expect(new Set([ino, ...numbers]).size).toBe(paths.length + 1)
  })
})

test('a guest that makes no mounts of its own gets numbers that are enough', () => {
  const [one, two] = twins()
  fs.mkdirSync(at('d1'))
  fs.mkdirSync(at('d2'))
  mounts.mount(at('d1'), '--bind', path.dirname(one))
  mounts.mount(at('d2'), '--bind', path.dirname(two))
  start()
  bench.send(requests.init({ flags: LINUX_INIT_FLAGS & ~FuseInitFlag.SUBMOUNTS, flags2: LINUX_INIT_FLAGS2 }))
  expect(walk('d1').attributes.flags).toBe(0)
  const numbers = [['d1'], ['d2'], ['d1', 'file'], ['d2', 'file']].map((names) => walk(...names).attributes.ino)
  expect(new Set(numbers).size).toBe(4)
  expectNumbersListed(ROOT)
  expectNumbersListed(walk('d1').nodeid)
})

describe('a mount that the guest has looked at', () => {
  test.each(['prefer', 'mandatory'] as const)('is not busy, handles: %s', (inodeFileHandles) => {
    const [one] = twins()
    mounts.mount(at('dir'), '--bind', path.dirname(one))
    mounts.tmpfs(at('dir', 'below'))
    fs.mkdirSync(at('dir', 'below', 'deep'))
    fs.writeFileSync(at('dir', 'below', 'deep', 'file'), 'text')
    mounts.bindFile(one, at('single'))
    start({ inodeFileHandles })
    const file = walk('dir', 'below', 'deep', 'file').nodeid
    const single = walk('single').nodeid
    const deep = walk('dir', 'below', 'deep').nodeid
    for (const nodeid of [file, single]) {
      const fh = bench.open(nodeid, O_RDONLY)
      expect(bench.body(requests.read(nodeid, fh, 0, 100)).length).toBeGreaterThan(0)
      bench.body(requests.release(nodeid, fh))
    }
    expect(bench.readDirectory(deep, 4096, true).length).toBe(3)
    mounts.unmount(at('single'))
    mounts.unmount(at('dir', 'below'))
    mounts.unmount(at('dir'))
    // What is gone is gone, and what lay below is there.
    for (const nodeid of [file, single, deep]) expect(bench.errno(requests.getattr(nodeid))).toBe(Errno.ESTALE)
    expect(walk('dir').attributes.ino).toBe(fs.statSync(at('dir')).ino)
    expect(bench.errno(requests.lookup(walk('dir').nodeid, 'below'))).toBe(Errno.ENOENT)
  })

  test('is not busy without handles, as long as nothing in it is known', () => {
    mounts.mount(at('proc'), '-t', 'proc', 'viewfsd-test')
    mounts.bindFile('/proc/version', at('version'))
    start()
    const fh = bench.open(walk('version').nodeid, O_RDONLY)
    expect(Buffer.from(bench.body(requests.read(walk('version').nodeid, fh, 0, 5))).toString()).toBe('Linux')
    bench.body(requests.release(walk('version').nodeid, fh))
    expect(bench.readDirectory(walk('proc').nodeid, 4096).length).toBeGreaterThan(3)
    mounts.unmount(at('version'))
    mounts.unmount(at('proc'))
    expect(walk('proc').attributes.ino).toBe(fs.statSync(at('proc')).ino)
  })

  test('is busy while a file in it is open', () => {
    mounts.tmpfs(at('dir'))
    fs.writeFileSync(at('dir', 'file'), '')
    start()
    const { nodeid } = walk('dir', 'file')
    const fh = bench.open(nodeid, O_RDONLY)
    expect(() => {
      mounts.unmount(at('dir'))
    }).toThrow(/busy/)
    bench.body(requests.release(nodeid, fh))
    mounts.unmount(at('dir'))
  })

  test('is found where it has been moved to, and another in its place is another', () => {
    mounts.tmpfs(behind('private'))
    execFileSync('mount', ['--make-private', behind('private')])
    share = behind('private', 'share')
    for (const name of ['', 'old', 'new']) fs.mkdirSync(at(name))
    mounts.tmpfs(at('old'))
    fs.writeFileSync(at('old', 'file'), 'moved')
    start()
    const { nodeid } = walk('old', 'file')
    execFileSync('mount', ['--move', at('old'), at('new')])
    expect(walk('new', 'file').nodeid).toBe(nodeid)
    expect(bench.attributes(requests.getattr(nodeid)).size).toBe(5)
    execFileSync('umount', [at('new')])
    mounts.tmpfs(at('new'))
    fs.writeFileSync(at('new', 'file'), 'another')
    expect(bench.errno(requests.getattr(nodeid))).toBe(Errno.ESTALE)
    expect(walk('new', 'file').nodeid).not.toBe(nodeid)
    expect(walk('new', 'file').attributes.size).toBe(7)
  })
})
