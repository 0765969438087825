// SPDX-License-Identifier: Apache-2.0
/** FUSE_EXPORT_SUPPORT: inodes that the guest has forgotten are found again by nodeid, as its exportfs asks for them. */
import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseInitFlag, FuseInitFlag2 } from '../../server/fuse/abi.ts'
import { decodeEntry, decodeInitOut, type Entry, requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, LINUX_INIT_FLAGS2, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'
import { Mounts } from './testing/mounts.ts'

const INIT = requests.init({
  flags: LINUX_INIT_FLAGS | FuseInitFlag.EXPORT_SUPPORT,
  flags2: LINUX_INIT_FLAGS2 | FuseInitFlag2.NO_EXPORT_SUPPORT,
})

let mounts: Mounts
let share: string
let bench: PassthroughBench
beforeEach(() => {
  mounts = new Mounts()
  share = path.join(mounts.scratch, 'share')
  fs.mkdirSync(path.join(share, 'a', 'b'), { recursive: true })
  fs.writeFileSync(path.join(share, 'a', 'b', 'file'), 'text')
})
afterEach(() => {
  bench[Symbol.dispose]()
  mounts[Symbol.dispose]()
})

const at = (...names: string[]): string => path.join(share, ...names)

function start(options: Partial<PassthroughOptions> = {}, where = share): ReturnType<typeof decodeInitOut> {
  bench = new PassthroughBench(options, where)
  return decodeInitOut(bench.body(INIT))
}

function walk(...names: string[]): Entry[] {
  const entries: Entry[] = []
  for (const name of names) entries.push(bench.lookup(name, entries.at(-1)?.nodeid ?? ROOT))
  return entries
}

const self = (nodeid: number): Entry => decodeEntry(bench.body(requests.lookup(nodeid, '.')))
const above = (nodeid: number): Entry => decodeEntry(bench.body(requests.lookup(nodeid, '..')))
const forget = (entries: Entry[]): void => {
  bench.send(requests.batchForget(entries.map(({ nodeid }) => [nodeid, 1])))
}

test('a forgotten inode is found by its nodeid, and its directory above it', () => {
  const { flags, flags2 } = start()
  expect(flags & FuseInitFlag.EXPORT_SUPPORT).toBe(FuseInitFlag.EXPORT_SUPPORT)
  expect(flags2 & FuseInitFlag2.NO_EXPORT_SUPPORT).toBe(0)
  const known = walk('a', 'b', 'file')
  const [a, b, file] = known.map(({ nodeid }) => nodeid)
  if (a === undefined || b === undefined || file === undefined) throw new Error()
  forget(known)
  expect(bench.inodes).toBe(1)
  // Forgotten it is all the same.
  expect(bench.errno(requests.getattr(file))).toBe(Errno.ESTALE)
  expect(bench.errno(requests.lookup(b, 'file'))).toBe(Errno.ESTALE)

  expect(self(file)).toEqual(known[2])
  expect(bench.errno(requests.lookup(file, '..'))).toBe(Errno.ENOTDIR)
  expect(self(b)).toEqual(known[1])
  expect(above(b)).toEqual(known[0])
  expect(above(a).nodeid).toBe(ROOT)
  expect(bench.inodes).toBe(4)
  expect(bench.attributes(requests.getattr(file)).size).toBe(4)
  // By name it is the same inode still, and every count counts.
  expect(bench.lookup('file', b)).toEqual(known[2])
  bench.send(requests.forget(file, 1))
  expect(bench.errno(requests.getattr(file))).toBe(0)
  bench.send(requests.forget(file, 1))
  expect(bench.errno(requests.getattr(file))).toBe(Errno.ESTALE)
  bench.send(
    requests.batchForget([
      [a, 1],
      [b, 1],
    ]),
  ) // prettier-ignore
  expect(bench.inodes).toBe(1)
})

test('it has the nodeid that it had, also where it has been looked up by name', () => {
  start()
  const known = walk('a', 'b', 'file')
  forget(known)
  expect(walk('a', 'b', 'file')).toEqual(known)
})

test('the next daemon’s nodeids don’t fit the handles of this one', () => {
  start()
  const [before] = walk('a')
  bench[Symbol.dispose]()
  start()
  const [after] = walk('a')
  expect(after?.nodeid).toBe(before?.nodeid)
  expect(after?.generation).not.toBe(before?.generation)
  expect(after?.generation).toBeGreaterThan(0)
})

test('what is gone is stale, and a number used again is another inode', () => {
  start()
  const [a, b, file] = walk('a', 'b', 'file')
  if (a === undefined || b === undefined || file === undefined) throw new Error()
  bench.send(requests.forget(file.nodeid, 1))
  fs.unlinkSync(at('a', 'b', 'file'))
  expect(bench.errno(requests.lookup(file.nodeid, '.'))).toBe(Errno.ESTALE)
  for (let index = 0; index < 200; index++) {
    fs.writeFileSync(at('a', 'b', `again-${index}`), '')
    if (fs.statSync(at('a', 'b', `again-${index}`)).ino !== file.attributes.ino) continue
    expect(bench.lookup(`again-${index}`, b.nodeid).nodeid).not.toBe(file.nodeid)
    expect(bench.errno(requests.lookup(file.nodeid, '.'))).toBe(Errno.ESTALE)
    return
  }
  throw new Error('the inode number has not been used again')
})

test('there is no way out of the share', () => {
  start()
  const [a, b] = walk('a', 'b')
  if (a === undefined || b === undefined) throw new Error()
  expect(bench.lookup('..').nodeid).toBe(ROOT)
  fs.mkdirSync(path.join(mounts.scratch, 'outside', 'x'), { recursive: true })
  fs.renameSync(at('a'), path.join(mounts.scratch, 'outside', 'x', 'a'))
  expect(bench.errno(requests.lookup(a.nodeid, '..'))).toBe(Errno.ESTALE)
  expect(bench.errno(requests.lookup(b.nodeid, '..'))).toBe(Errno.ESTALE)
  // Nor for a nodeid that nobody has been given.
  for (const nodeid of [0, b.nodeid + 1, 1_000_000, 0xffff_ffff_ffff_ffffn]) {
    expect(bench.errno(requests.lookup(nodeid, '.'))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.lookup(nodeid, '..'))).toBe(Errno.ESTALE)
  }
})

test('a submount’s root is a root', () => {
  mounts.tmpfs(at('mount'))
  fs.mkdirSync(at('mount', 'dir', 'inner'), { recursive: true })
  start()
  const known = walk('mount', 'dir', 'inner')
  const [mount, dir, inner] = known
  if (mount === undefined || dir === undefined || inner === undefined) throw new Error()
  // The kernel makes its inode by itself, without a generation.
  expect([mount.generation, dir.generation > 0]).toEqual([0, true])
  forget([dir, inner])
  expect(self(inner.nodeid)).toEqual(inner)
  expect(above(inner.nodeid)).toEqual(dir)
  const root = above(dir.nodeid)
  expect([root.nodeid, root.generation, root.attributes.flags]).toEqual([mount.nodeid, 0, 0])
  // Being remembered keeps nobody from unmounting it.
  forget([dir, inner])
  mounts.unmount(at('mount'))
  expect(bench.errno(requests.lookup(inner.nodeid, '.'))).toBe(Errno.ESTALE)
})

test('without handles the guest makes none, and "." means nothing', () => {
  for (const [options, where] of [
    [{ inodeFileHandles: 'never' }, share],
    [{ inodeFileHandles: 'prefer' }, '/proc/self/fdinfo'],
  ] as const) {
    const { flags, flags2 } = start(options, where)
    expect(flags & FuseInitFlag.EXPORT_SUPPORT).toBe(0)
    expect(flags2 & FuseInitFlag2.NO_EXPORT_SUPPORT).toBe(FuseInitFlag2.NO_EXPORT_SUPPORT)
    if (where === share) expect(bench.errno(requests.lookup(bench.lookup('a').nodeid, '.'))).toBe(Errno.EINVAL)
    bench[Symbol.dispose]()
  }
})
