// SPDX-License-Identifier: Apache-2.0
/**
 * Nothing leads out of the shared directory, while another thread exchanges directories and files for symbolic links to
 * the outside as fast as it can, and a guest does whatever it can with the names and nodeids.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { decodeEntry, decodeOpenOut, requests } from '../../server/fuse/testing/messages.ts'
import type { InodeFileHandles } from '../../server/passthrough/options.ts'
import { PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const { O_RDWR, O_RDONLY, O_TRUNC, S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = fs.constants

/** Swaps two pairs of names over and over, until its flag is set. */
const SWAPPER = `
const fs = require('node:fs')
const { workerData } = require('node:worker_threads')
const stop = new Int32Array(workerData.stop)
while (Atomics.load(stop, 0) === 0) {
  for (const [one, other] of workerData.pairs) {
    try {
      fs.renameSync(one, one + '.aside')
      fs.renameSync(other, one)
      fs.renameSync(one + '.aside', other)
    } catch {}
  }
  Atomics.add(stop, 1, 1)
}
`

let base: string
let bench: PassthroughBench
const at = (...names: string[]): string => path.join(base, 'share', ...names)
const outside = (...names: string[]): string => path.join(base, 'outside', ...names)

beforeEach(() => {
  base = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-confined-'))
  fs.mkdirSync(outside('sub'), { recursive: true })
  fs.writeFileSync(outside('secret'), 'OUTSIDE')
  fs.writeFileSync(outside('sub', 'secret'), 'OUTSIDE')
  fs.mkdirSync(at('dir', 'sub'), { recursive: true })
  fs.writeFileSync(at('dir', 'secret'), 'inside')
  fs.writeFileSync(at('dir', 'sub', 'secret'), 'inside')
  fs.writeFileSync(at('file'), 'inside')
  fs.symlinkSync('../outside', at('dir-link'))
  fs.symlinkSync(outside('secret'), at('file-link'))
})
afterEach(() => {
  bench[Symbol.dispose]()
  fs.rmSync(base, { recursive: true, force: true })
})

/** All that could show that something out there was touched; access times aside. */
function outsideState(): unknown {
  return ['', 'secret', 'sub', 'sub/secret'].map((name) => {
    const { ino, mode, uid, gid, nlink, size, mtimeNs, ctimeNs } = fs.lstatSync(outside(name), { bigint: true })
    const names = fs.statSync(outside(name)).isDirectory()
      ? fs.readdirSync(outside(name))
      : fs.readFileSync(outside(name), 'utf8')
    return { ino, mode, uid, gid, nlink, size, mtimeNs, ctimeNs, names }
  })
}

const outsideInodes = (): Set<number> =>
  new Set(['', 'secret', 'sub', 'sub/secret'].map((name) => fs.statSync(outside(name)).ino))

/** The guest's side: one round of everything. Returns what it has seen, to be sure that the race was on. */
function attack(round: number, forbidden: ReadonlySet<number>): string[] {
  const seen: string[] = []
  const made: (readonly [number, number])[] = []
  const lookup = (parent: number, name: string): ReturnType<typeof decodeEntry> | undefined => {
    const reply = bench.send(requests.lookup(parent, name))
    if (reply === null || reply.error !== 0) return undefined
    const entry = decodeEntry(reply.body)
    // No such name, which the guest may keep.
    if (entry.nodeid === 0) return undefined
    expect(forbidden.has(entry.attributes.ino)).toBe(false)
    made.push([entry.nodeid, 1])
    return entry
  }
  /** A request that is answered with an entry. */
  const count = (message: Uint8Array): void => {
    const reply = bench.send(message)
    if (reply !== null && reply.error === 0) made.push([decodeEntry(reply.body).nodeid, 1])
  }
  const read = (nodeid: number): void => {
    const reply = bench.send(requests.open(nodeid, O_RDONLY))
    if (reply === null || reply.error !== 0) return
    const { fh } = decodeOpenOut(reply.body)
    expect(['inside', '']).toContain(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString())
    bench.send(requests.release(nodeid, fh))
  }
  for (const name of ['dir', 'dir-link', 'file', 'file-link']) {
    const entry = lookup(ROOT, name)
    if (entry === undefined) continue
    const { nodeid } = entry
    const type = entry.attributes.mode & S_IFMT
    seen.push(`${name} ${type}`)
    if (type === S_IFREG) {
      read(nodeid)
      bench.send(requests.setattr(nodeid, { valid: 1, mode: 0o600 + (round % 64) }))
      bench.send(requests.setxattr(nodeid, 'user.test', new Uint8Array(3)))
      count(requests.link(ROOT, `hard-${name}`, nodeid))
      expect(forbidden.has(lookup(ROOT, `hard-${name}`)?.attributes.ino ?? 0)).toBe(false)
      bench.send(requests.unlink(ROOT, `hard-${name}`))
    } else if (type === S_IFDIR) {
      const secret = lookup(nodeid, 'secret')
      if (secret !== undefined) read(secret.nodeid)
      const sub = lookup(nodeid, 'sub')
      const deep = sub === undefined ? undefined : lookup(sub.nodeid, 'secret')
      if (deep !== undefined) read(deep.nodeid)
      const created = bench.send(requests.create(nodeid, `new-${round}`, O_RDWR, 0o644))
      if (created !== null && created.error === 0) {
        const opened = decodeEntry(created.body)
        made.push([opened.nodeid, 1])
        bench.send(requests.release(opened.nodeid, decodeOpenOut(created.body, 128).fh))
      }
      count(requests.mkdir(nodeid, `newdir-${round}`, 0o755))
      bench.send(requests.rmdir(nodeid, `newdir-${round}`))
      bench.send(requests.unlink(nodeid, `new-${round}`))
    } else if (type === S_IFLNK) {
      // Only the guest itself follows it, in its own name space.
      expect(bench.errno(requests.open(nodeid, O_RDWR))).toBe(Errno.EINVAL)
      expect(bench.errno(requests.opendir(nodeid))).toBe(Errno.ENOTDIR)
      bench.send(requests.setattr(nodeid, { valid: 8, size: 0 }))
      bench.send(requests.setattr(nodeid, { valid: 1, mode: 0o777 }))
      bench.send(requests.setattr(nodeid, { valid: 2, uid: 7 }))
      bench.send(requests.setattr(nodeid, { valid: 0x30, atime: 5, mtime: 5 }))
      bench.send(requests.setxattr(nodeid, 'trusted.test', new Uint8Array(3)))
      expect(bench.errno(requests.lookup(nodeid, 'secret'))).toBe(Errno.ENOTDIR)
      expect(bench.errno(requests.create(nodeid, 'new', O_RDWR, 0o644))).toBe(Errno.ENOTDIR)
    }
    if (name.startsWith('dir')) continue
    // Creating over it must not follow it either.
    const over = bench.send(requests.create(ROOT, name, O_RDWR | (round % 2 === 0 ? 0 : O_TRUNC), 0o644))
    if (over !== null && over.error === 0) {
      const opened = decodeEntry(over.body)
      expect(forbidden.has(opened.attributes.ino)).toBe(false)
      made.push([opened.nodeid, 1])
      bench.send(requests.write(opened.nodeid, decodeOpenOut(over.body, 128).fh, 0, Buffer.from('inside')))
      bench.send(requests.release(opened.nodeid, decodeOpenOut(over.body, 128).fh))
    }
  }
  for (const { entry } of bench.readDirectory(ROOT, 4096, true)) {
    if (entry === undefined || entry.nodeid === 0) continue
    expect(forbidden.has(entry.attributes.ino)).toBe(false)
    made.push([entry.nodeid, 1])
  }
  bench.send(requests.batchForget(made))
  return seen
}

test.each(['never', 'mandatory'] satisfies InodeFileHandles[])(
  'racing renames and symbolic links, file handles %s',
  async (inodeFileHandles) => {
    bench = new PassthroughBench({ inodeFileHandles }, at())
    const before = outsideState()
    const forbidden = outsideInodes()
    const stop = new SharedArrayBuffer(8)
    const pairs = [
      [at('dir'), at('dir-link')],
      [at('file'), at('file-link')],
    ]
    const swapper = new Worker(SWAPPER, { eval: true, workerData: { stop, pairs } })
    const swaps = new Int32Array(stop)
    const seen = new Set<string>()
    try {
      await new Promise((resolve) => swapper.once('online', resolve))
      for (let round = 0; round < 500 || (seen.size < 8 && round < 100_000); round++) {
        for (const what of attack(round, forbidden)) seen.add(what)
      }
    } finally {
      Atomics.store(swaps, 0, 1)
      await new Promise((resolve) => swapper.once('exit', resolve))
    }
    expect(outsideState()).toEqual(before)
    // Each name was what it was and what it was exchanged for.
    expect([...seen].toSorted()).toEqual(
      [
        ['dir', S_IFDIR],
        ['dir', S_IFLNK],
        ['dir-link', S_IFDIR],
        ['dir-link', S_IFLNK],
        ['file', S_IFREG],
        ['file', S_IFLNK],
        ['file-link', S_IFREG],
        ['file-link', S_IFLNK],
      ]
        .map(([name, type]) => `${name} ${type}`)
        .toSorted(),
    )
    expect(Atomics.load(swaps, 1)).toBeGreaterThan(10)
    expect(bench.inodes).toBe(1)
  },
)

describe('names', () => {
  test.each(['.', '..', '/', 'dir/secret', '../outside', '/etc/passwd', 'dir/../../outside', ''])(
    '%j is none',
    (name) => {
      bench = new PassthroughBench({}, at())
      const before = outsideState()
      const directory = bench.lookup('dir').nodeid
      for (const parent of [ROOT, directory]) {
        // The root is both for itself, as in "/..".
        if (parent === ROOT && (name === '.' || name === '..')) expect(bench.lookup(name).nodeid).toBe(ROOT)
        else expect(bench.errno(requests.lookup(parent, name))).toBe(Errno.EINVAL)
        for (const request of [
          requests.mkdir(parent, name, 0o755),
          requests.mknod(parent, name, S_IFREG | 0o644),
          requests.symlink(parent, name, 'x'),
          requests.create(parent, name, O_RDWR, 0o644),
          requests.unlink(parent, name),
          requests.rmdir(parent, name),
          requests.rename(parent, name, ROOT, 'new'),
          requests.rename(ROOT, 'file', parent, name),
          requests.link(parent, name, bench.lookup('file').nodeid),
        ]) {
          expect(bench.errno(request)).toBe(Errno.EINVAL)
        }
      }
      expect(outsideState()).toEqual(before)
    },
  )

  test('".." in a listing of the root says nothing about what is above', () => {
    bench = new PassthroughBench({}, at())
    const above = fs.statSync(base).ino
    for (const plus of [false, true]) {
      const dots = bench
        .readDirectory(ROOT, 4096, plus)
        .filter(({ name }) => Buffer.from(name).toString().startsWith('.'))
      expect(dots.map(({ ino }) => ino)).not.toContain(above)
      expect(dots.every(({ entry }) => entry === undefined || entry.nodeid === 0)).toBe(true)
    }
  })
})

test('a mount over a known directory hides nothing and shows nothing to who knew it before', () => {
  bench = new PassthroughBench({}, at())
  const directory = bench.lookup('dir')
  execFileSync('mount', ['--bind', outside(), at('dir')])
  try {
    // By nodeid, it is still what it was; by name, what the host has put there for the guest.
    const secret = bench.lookup('secret', directory.nodeid)
    const fh = bench.open(secret.nodeid, O_RDONLY)
    expect(Buffer.from(bench.body(requests.read(secret.nodeid, fh, 0, 100))).toString()).toBe('inside')
    const mounted = bench.lookup('dir')
    expect(mounted.nodeid).not.toBe(directory.nodeid)
    expect(bench.lookup('secret', mounted.nodeid).attributes.size).toBe(7)
  } finally {
    execFileSync('umount', ['-l', at('dir')])
  }
  expect(bench.lookup('dir').nodeid).toBe(directory.nodeid)
})
