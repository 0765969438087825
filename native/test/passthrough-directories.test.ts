// SPDX-License-Identifier: Apache-2.0
/** READDIR and READDIRPLUS of the passthrough file system. */
import fs from 'node:fs'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { decodeDirectory, decodeOpenOut, type DirectoryEntry, requests } from '../../server/fuse/testing/messages.ts'
import { counts } from '../testing/index.ts'
import { PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const nameOf = (entry: DirectoryEntry): string => Buffer.from(entry.name).toString('latin1')
const isDots = (entry: DirectoryEntry): boolean => ['.', '..'].includes(nameOf(entry))

let bench: PassthroughBench
beforeEach(() => {
  bench = new PassthroughBench()
})
// Removing 100,000 names takes its time on a busy machine.
afterEach(() => {
  bench[Symbol.dispose]()
}, 120_000)

function fill(count: number, length = 12): string[] {
  const names = Array.from({ length: count }, (_, index) => `${index}`.padStart(length, 'n'))
  for (const name of names) fs.writeFileSync(bench.at(name), '')
  return names
}

describe('READDIR', () => {
  test('names, types and inode numbers', () => {
    fs.mkdirSync(bench.at('dir'))
    fs.writeFileSync(bench.at('file'), '')
    fs.symlinkSync('x', bench.at('link'))
    const entries = new Map(bench.readDirectory(ROOT).map((entry) => [nameOf(entry), entry]))
    expect([...entries.keys()].toSorted()).toEqual(['.', '..', 'dir', 'file', 'link'])
    expect(entries.get('dir')).toMatchObject({ type: 4, ino: fs.statSync(bench.at('dir')).ino })
    expect(entries.get('file')).toMatchObject({ type: 8, ino: fs.statSync(bench.at('file')).ino })
    expect(entries.get('link')).toMatchObject({ type: 10, ino: fs.lstatSync(bench.at('link')).ino })
    const own = fs.statSync(bench.path).ino
    expect(entries.get('.')?.ino).toBe(own)
    // The parent of the shared directory is the host's secret.
    expect(entries.get('..')?.ino).toBe(own)
    expect(bench.inodes).toBe(1)
  })

  test('any size of reply brings every name once', () => {
    const names = fill(300, 20)
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 9000 }), fc.boolean(), (size, plus) => {
        const entries = bench.readDirectory(ROOT, size, plus)
        expect(entries.map(nameOf).toSorted()).toEqual(['.', '..', ...names].toSorted())
      }),
      { numRuns: 25 },
    )
  })

  test('a position stays valid: going back, beyond, and to the start again', () => {
    const names = fill(500)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    const read = (offset: bigint): DirectoryEntry[] =>
      decodeDirectory(bench.body(requests.readdir(ROOT, fh, offset, 1000)), false)
    const whole: DirectoryEntry[] = []
    for (let part = read(0n); part.length > 0; part = read(whole.at(-1)?.off ?? 0n)) whole.push(...part)
    expect(
      whole
        .filter((entry) => !isDots(entry))
        .map(nameOf)
        .toSorted(),
    ).toEqual(names.toSorted())
    for (const index of [300, 10, 499, 0, 250]) {
      const [next] = read(whole[index]?.off ?? 0n)
      expect(next?.name).toEqual(whole[index + 1]?.name)
    }
    expect(read(0n).map(nameOf)).toEqual(whole.slice(0, read(0n).length).map(nameOf))
  })

  test('what is new is seen after rewinding', () => {
    fill(3)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    const read = (): number => decodeDirectory(bench.body(requests.readdir(ROOT, fh, 0, 4096)), false).length
    expect(read()).toBe(5)
    fs.writeFileSync(bench.at('new'), '')
    expect(read()).toBe(6)
    fs.unlinkSync(bench.at('new'))
    expect(read()).toBe(5)
  })

  test('a reply that is too small for one entry', () => {
    fill(1, 200)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    expect(bench.errno(requests.readdir(ROOT, fh, 0, 8))).toBe(Errno.EINVAL)
    expect(bench.body(requests.readdir(ROOT, fh, 0, 4096)).length).toBeGreaterThan(200)
    expect(bench.errno(requests.readdirplus(ROOT, fh, 0, 100))).toBe(Errno.EINVAL)
  })

  test('nonsense positions end in an error or an end, never elsewhere', () => {
    fill(10)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    for (const offset of [1n << 63n, (1n << 64n) - 1n, 0x7fff_ffff_ffff_ffffn, 12345678901n]) {
      const reply = bench.send(requests.readdir(ROOT, fh, offset, 4096))
      expect([0, -Errno.EINVAL]).toContain(reply?.error)
    }
  })

  test('the buffers of directories that are not read to the end are bounded, and no entry is lost', () => {
    const names = fill(20)
    const most = 1024
    const streams = Array.from({ length: most + 100 }, () => {
      const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
      return { fh, offset: 0n, names: new Set<string>() }
    })
    const read = (stream: (typeof streams)[number]): number => {
      const entries = decodeDirectory(bench.body(requests.readdir(ROOT, stream.fh, stream.offset, 300)), false)
      for (const entry of entries.filter((each) => !isDots(each))) stream.names.add(nameOf(entry))
      stream.offset = entries.at(-1)?.off ?? stream.offset
      return entries.length
    }
    for (const stream of streams) read(stream)
    expect(counts.streamBuffers()).toBe(most)
    for (const stream of streams) while (read(stream) > 0);
    for (const stream of streams) expect([...stream.names].toSorted()).toEqual(names.toSorted())
    // One that has come to its end needs none, though it is open.
    expect(counts.streamBuffers()).toBe(0)
  })

  test('FSYNCDIR and RELEASEDIR', () => {
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    expect(bench.errno(requests.fsyncdir(ROOT, fh))).toBe(0)
    expect(bench.errno(requests.fsyncdir(ROOT, fh, 1))).toBe(0)
    bench.send(requests.release(ROOT, fh))
    expect(bench.handles).toBe(1)
    bench.send(requests.releasedir(ROOT, fh))
    expect(bench.handles).toBe(0)
    expect(bench.errno(requests.fsyncdir(ROOT, fh))).toBe(Errno.EBADF)
  })
})

describe('READDIRPLUS', () => {
  test('brings attributes and counts a lookup for each entry it brings, and no other', () => {
    const names = fill(200)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    const lookups = new Map<number, number>()
    const read = (offset: bigint, size: number): DirectoryEntry[] => {
      const entries = decodeDirectory(bench.body(requests.readdirplus(ROOT, fh, offset, size)), true)
      for (const { entry } of entries) {
        if (entry !== undefined && entry.nodeid !== 0) lookups.set(entry.nodeid, (lookups.get(entry.nodeid) ?? 0) + 1)
      }
      return entries
    }
    let offset = 0n
    let size = 500
    for (;;) {
      const entries = read(offset, size)
      if (entries.length === 0) break
      for (const { name, entry } of entries.filter((each) => !isDots(each))) {
        const host = fs.statSync(Buffer.concat([Buffer.from(bench.at('/')), name]))
        expect(entry?.attributes).toMatchObject({ ino: host.ino, mode: host.mode })
      }
      offset = entries.at(-1)?.off ?? 0n
      size += 37
    }
    // Again from the start, so that counts are two for some.
    read(0n, 3000)
    expect(lookups.size).toBe(names.length)
    expect(bench.inodes).toBe(names.length + 1)
    for (const [nodeid, count] of lookups) {
      if (count > 1) bench.send(requests.forget(nodeid, count - 1))
    }
    expect(bench.inodes).toBe(names.length + 1)
    for (const nodeid of lookups.keys()) bench.send(requests.forget(nodeid, 1))
    expect(bench.inodes).toBe(1)
  })

  test('"." and ".." have no nodeid', () => {
    const dots = bench.readDirectory(ROOT, 4096, true).filter(isDots)
    expect(dots.map(({ entry }) => entry?.nodeid)).toEqual([0, 0])
  })

  test('a name that has gone meanwhile has no nodeid', () => {
    // More than one reply, all in the server's one buffer.
    const names = fill(50)
    const { fh } = decodeOpenOut(bench.body(requests.opendir(ROOT)))
    const first = decodeDirectory(bench.body(requests.readdirplus(ROOT, fh, 0, 600)), true)
    for (const name of names) fs.unlinkSync(bench.at(name))
    const rest = decodeDirectory(bench.body(requests.readdirplus(ROOT, fh, first.at(-1)?.off ?? 0, 1 << 20)), true)
    expect(rest.length).toBeGreaterThan(40)
    expect(rest.every(({ entry }) => entry?.nodeid === 0)).toBe(true)
  })
})

test('100,000 entries, each once, and nothing kept for those that were only listed', () => {
  const count = 100_000
  fs.mkdirSync(bench.at('dir'))
  const { nodeid } = bench.lookup('dir')
  const source = bench.at('dir', '0')
  fs.writeFileSync(source, '')
  // Links are made faster than files; ext4 allows 65,000 of one.
  for (let index = 1; index < count; index++) {
    if (index === count / 2) fs.writeFileSync(bench.at('dir', `${index}`), '')
    else fs.linkSync(index < count / 2 ? source : bench.at('dir', `${count / 2}`), bench.at('dir', `${index}`))
  }
  const names = new Set<string>()
  const entries = bench.readDirectory(nodeid, 1 << 17, true)
  for (const entry of entries) names.add(nameOf(entry))
  expect([entries.length, names.size]).toEqual([count + 2, count + 2])
  // Two inodes behind all of them.
  expect(bench.inodes).toBe(4)
  expect(new Set(bench.readDirectory(nodeid, 4096).map(nameOf)).size).toBe(count + 2)
}, 120_000)
