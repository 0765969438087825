// SPDX-License-Identifier: Apache-2.0
/** Inodes that are kept by file handle: what they cost, and that they never come to mean another file. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { decodeDirectory, decodeOpenOut, type DirectoryEntry, requests } from '../../server/fuse/testing/messages.ts'
import { createSharedDirectory } from '../../server/passthrough/passthrough-file-system.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { Mounts } from './testing/mounts.ts'
import { MAPPED, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'
import { tableMemory } from './testing/table-memory.ts'

const { O_RDONLY, O_RDWR } = fs.constants
const S_IFIFO = 0o10000

function limitTo(descriptors: number | string): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${descriptors}:`])
}
const countDescriptors = (): number => fs.readdirSync('/proc/self/fd').length

let bench: PassthroughBench
function start(options: Partial<PassthroughOptions> = {}): void {
  bench = new PassthroughBench(options)
}
afterEach(() => {
  bench[Symbol.dispose]()
})

/** Makes files until one has that inode number. ext4 gives a freed number out at once, so mostly the first has it. */
function reuseInode(number: number): string | undefined {
  for (let index = 0; index < 200; index++) {
    const name = `reuse-${index}`
    fs.writeFileSync(bench.at(name), 'another')
    if (fs.statSync(bench.at(name)).ino === number) return name
  }
  return undefined
}

describe.each(['never', 'mandatory'] as const)('handles: %s', (inodeFileHandles) => {
  test('an inode number used again is another inode', () => {
    start({ inodeFileHandles })
    fs.writeFileSync(bench.at('a'), 'a')
    const { nodeid, attributes } = bench.lookup('a')
    fs.unlinkSync(bench.at('a'))
    const name = reuseInode(attributes.ino)
    if (inodeFileHandles === 'never') {
      // The descriptor keeps the number from being used again.
      expect(name).toBeUndefined()
      expect(bench.attributes(requests.getattr(nodeid))).toMatchObject({ ino: attributes.ino, nlink: 0 })
      return
    }
    if (name === undefined) throw new Error(`${os.tmpdir()} did not use the inode number again`)
    const other = bench.lookup(name)
    expect(other.attributes.ino).toBe(attributes.ino)
    expect(other.nodeid).not.toBe(nodeid)
    expect(bench.errno(requests.getattr(nodeid))).toBe(Errno.ESTALE)
    expect(bench.errno(requests.open(nodeid, O_RDONLY))).toBe(Errno.ESTALE)
    expect(bench.attributes(requests.getattr(other.nodeid)).size).toBe(7)
    // The number's old life goes without taking the new one along.
    bench.send(requests.forget(nodeid, 1))
    expect(bench.lookup(name).nodeid).toBe(other.nodeid)
    bench.send(requests.forget(other.nodeid, 2))
    expect(bench.inodes).toBe(1)
  })

  test('one file under many names, and renamed, is one inode', () => {
    start({ inodeFileHandles })
    fs.writeFileSync(bench.at('file'), '')
    fs.mkdirSync(bench.at('dir'))
    const { nodeid } = bench.lookup('file')
    fs.linkSync(bench.at('file'), bench.at('dir', 'link'))
    fs.renameSync(bench.at('file'), bench.at('renamed'))
    const directory = bench.lookup('dir')
    expect(bench.lookup('link', directory.nodeid).nodeid).toBe(nodeid)
    expect(bench.lookup('renamed').nodeid).toBe(nodeid)
    expect(bench.attributes(requests.getattr(nodeid)).nlink).toBe(2)
    fs.renameSync(bench.at('dir'), bench.at('moved'))
    expect(bench.lookup('link', directory.nodeid).nodeid).toBe(nodeid)
    expect(bench.lookup('moved').nodeid).toBe(directory.nodeid)
  })

  test('what the guest has unlinked is there until it forgets it', () => {
    start({ inodeFileHandles })
    const before = countDescriptors()
    fs.writeFileSync(bench.at('file'), 'contents')
    fs.writeFileSync(bench.at('target'), 'old')
    fs.writeFileSync(bench.at('source'), 'new')
    fs.mkdirSync(bench.at('dir'))
    execFileSync('mkfifo', [bench.at('fifo')])
    const [file, target, dir, fifo] = ['file', 'target', 'dir', 'fifo'].map((name) => bench.lookup(name).nodeid)
    if (file === undefined || target === undefined || dir === undefined || fifo === undefined) throw new Error()
    bench.body(requests.unlink(ROOT, 'file'))
    bench.body(requests.unlink(ROOT, 'fifo'))
    bench.body(requests.rmdir(ROOT, 'dir'))
    bench.body(requests.rename(ROOT, 'source', ROOT, 'target'))
    for (const nodeid of [file, target, dir, fifo]) {
      expect(bench.attributes(requests.getattr(nodeid)).nlink).toBe(0)
    }
    expect(bench.attributes(requests.getattr(fifo)).mode & S_IFIFO).toBe(S_IFIFO)
    const fh = bench.open(file, O_RDWR)
    expect(Buffer.from(bench.body(requests.read(file, fh, 0, 100))).toString()).toBe('contents')
    bench.body(requests.release(file, fh))
    bench.send(requests.batchForget([file, target, dir, fifo].map((nodeid) => [nodeid, 1])))
    expect(countDescriptors()).toBe(before)
  })

  test('a file that somebody else has deleted lives on while it is open', () => {
    start({ inodeFileHandles })
    fs.writeFileSync(bench.at('file'), 'contents')
    const { nodeid } = bench.lookup('file')
    const fh = bench.open(nodeid, O_RDWR)
    fs.unlinkSync(bench.at('file'))
    expect(bench.attributes(requests.getattr(nodeid)).nlink).toBe(0)
    expect(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString()).toBe('contents')
    expect(bench.errno(requests.setattr(nodeid, { valid: 8, size: 3 }))).toBe(0)
    const second = bench.open(nodeid, O_RDONLY)
    expect(Buffer.from(bench.body(requests.read(nodeid, second, 0, 100))).toString()).toBe('con')
    expect(bench.errno(requests.setupmapping(nodeid, 0, 4096, 0, 3))).toBe(MAPPED)
  })
})

test("handles that are long, an overlay's, name their inodes", () => {
  using mounts = new Mounts()
  const behind = (name: string): string => path.join(mounts.scratch, name)
  mounts.tmpfs(behind('layers'))
  for (const name of ['lower', 'upper', 'work']) fs.mkdirSync(path.join(behind('layers'), name))
  const share = behind('share')
  const dirs = ['lower', 'upper', 'work'].map((name) => `${name}dir=${path.join(behind('layers'), name)}`)
  mounts.mount(share, '-t', 'overlay', 'viewfsd-test', '-o', `${dirs.join()},index=on,nfs_export=on`)
  const names = Array.from({ length: 300 }, (_, index) => `f${index}`)
  for (const name of names) fs.writeFileSync(path.join(share, name), name)
  // No descriptor can be kept, so each use goes by the handle.
  bench = new PassthroughBench({ descriptorLimit: 0, inodeFileHandles: 'mandatory' }, share)
  const descriptors = countDescriptors()
  const read = (name: string, nodeid: number): void => {
    const fh = bench.open(nodeid, O_RDONLY)
    expect(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString()).toBe(name)
    bench.body(requests.release(nodeid, fh))
  }
  for (let round = 0; round < 2; round++) {
    const nodeids = names.map((name) => bench.lookup(name).nodeid)
    for (const [index, name] of names.entries()) read(name, nodeids[index] ?? 0)
    expect(bench.lookup('f7').nodeid).toBe(nodeids[7])
    bench.send(requests.batchForget([...nodeids, nodeids[7] ?? 0].map((nodeid) => [nodeid, 1])))
    expect(bench.inodes).toBe(1)
  }
  expect(countDescriptors()).toBe(descriptors)
  bench[Symbol.dispose]()
})

test('two lives of a number are told apart by birth time, too', async () => {
  start({ inodeFileHandles: 'mandatory' })
  fs.writeFileSync(bench.at('file'), '')
  // Older than the grain within which a birth time counts for nothing.
  await setTimeout(1100)
  const { nodeid, attributes } = bench.lookup('file')
  expect(bench.lookup('file').nodeid).toBe(nodeid)
  fs.unlinkSync(bench.at('file'))
  const name = reuseInode(attributes.ino)
  if (name === undefined) throw new Error(`${os.tmpdir()} did not use the inode number again`)
  expect(bench.lookup(name).nodeid).not.toBe(nodeid)
  expect(bench.errno(requests.getattr(nodeid))).toBe(Errno.ESTALE)
})

test('a file system without handles: descriptors, or nothing', () => {
  expect(() => createSharedDirectory('/proc', { inodeFileHandles: 'mandatory' })).toThrow(
    expect.objectContaining({ code: 'EOPNOTSUPP' }),
  )
  bench = new PassthroughBench({ inodeFileHandles: 'prefer' }, '/proc/self/fdinfo')
  const before = countDescriptors()
  const { nodeid } = bench.lookup('0')
  expect(countDescriptors()).toBe(before + 1)
  bench.send(requests.forget(nodeid, 1))
  expect(countDescriptors()).toBe(before)
})

test('inodes of a mount below cost no descriptor', () => {
  start({ inodeFileHandles: 'mandatory' })
  fs.mkdirSync(bench.at('mount'))
  execFileSync('mount', ['-t', 'tmpfs', 'viewfsd-test', bench.at('mount')])
  try {
    const names = Array.from({ length: 50 }, (_, index) => `file-${index}`)
    for (const name of names) fs.writeFileSync(bench.at('mount', name), name)
    const before = countDescriptors()
    const mount = bench.lookup('mount')
    const nodeids = names.map((name) => bench.lookup(name, mount.nodeid).nodeid)
    for (const [index, nodeid] of nodeids.entries()) {
      const fh = bench.open(nodeid, O_RDONLY)
      expect(Buffer.from(bench.body(requests.read(nodeid, fh, 0, 100))).toString()).toBe(names[index])
      bench.body(requests.release(nodeid, fh))
    }
    expect(countDescriptors()).toBe(before)
    bench.send(requests.batchForget([mount.nodeid, ...nodeids].map((nodeid) => [nodeid, 1])))
    expect(countDescriptors()).toBe(before)
    execFileSync('umount', [bench.at('mount')])
  } catch (error) {
    execFileSync('umount', ['-l', bench.at('mount')])
    throw error
  }
})

describe('limits', () => {
  test('known inodes', () => {
    start({ inodeLimit: 4 })
    for (const name of ['a', 'b', 'c', 'd']) fs.writeFileSync(bench.at(name), '')
    const nodeids = ['a', 'b', 'c'].map((name) => bench.lookup(name).nodeid)
    expect(bench.errno(requests.lookup(ROOT, 'd'))).toBe(Errno.ENFILE)
    expect(bench.errno(requests.create(ROOT, 'new', O_RDWR, 0o644))).toBe(Errno.ENFILE)
    bench.lookup('a')
    bench.send(requests.forget(nodeids[1] ?? 0, 1))
    bench.lookup('d')
    expect(bench.handles).toBe(0)
  })

  test.each(['never', 'prefer'] as const)('descriptors, with handles %s', (inodeFileHandles) => {
    const old = /Max open files\s+(\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024'
    const limit = countDescriptors() + 600
    try {
      limitTo(limit)
      start({ inodeFileHandles, descriptorLimit: 0 })
      fs.writeFileSync(bench.at('file'), '')
      const { nodeid } = bench.lookup('file')
      const handles: number[] = []
      const openUntilRefused = (): number => {
        for (;;) {
          const errno = bench.errno(requests.open(nodeid, O_RDONLY))
          if (errno !== 0) return errno
          handles.push(bench.handles)
        }
      }
      expect(openUntilRefused()).toBe(Errno.ENFILE)
      expect(handles.length).toBeGreaterThan(100)
      // What the rest of the process needs is still there.
      const own = Array.from({ length: 50 }, () => fs.openSync('/dev/null', 'r'))
      for (const fd of own) fs.closeSync(fd)
      fs.writeFileSync(bench.at('other'), '')
      expect(bench.errno(requests.lookup(ROOT, 'other'))).toBe(inodeFileHandles === 'never' ? Errno.ENFILE : 0)
      bench.body(requests.destroy())
    } finally {
      limitTo(old)
    }
  })
})

/** A million in the tier native. More than this process may have descriptors in any case. */
const STEP = 4
const MANY = Number(process.env['VIEWFSD_MANY_FILES'] ?? 30_000)

test(
  'many more files than descriptors are looked up, used and forgotten',
  () => {
    const where = fs.mkdtempSync(path.join(process.env['VIEWFSD_MANY_FILES_IN'] ?? os.tmpdir(), 'viewfsd-many-'))
    try {
      for (let index = 0; index < MANY; index++) fs.closeSync(fs.openSync(path.join(where, `f${index}`), 'w'))
      bench = new PassthroughBench({}, where)
      const lookUp = (index: number): number => bench.lookup(`f${index}`).nodeid
      // What a first lookup brings along is not counted.
      bench.send(requests.forget(lookUp(0), 1))
      const descriptors = countDescriptors()
      const memory = process.memoryUsage.rss()
      const tables = tableMemory()
      const nodeids = new Float64Array(MANY)
      const begin = process.hrtime.bigint()
      for (let index = 0; index < MANY; index++) nodeids[index] = lookUp(index)
      const elapsed = Number(process.hrtime.bigint() - begin)
      const used = process.memoryUsage.rss() - memory
      const known = tableMemory() - tables
      expect(known / MANY).toBeLessThan(145)
      expect(bench.inodes).toBe(MANY + 1)
      expect(countDescriptors()).toBe(descriptors)
      // Each of them is usable; a quarter of the descriptors are kept for those that were used.
      const limit = Number(/Max open files\s+(\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'))?.[1])
      for (let index = 0; index < MANY; index += STEP) {
        expect(bench.errno(requests.getattr(nodeids[index] ?? 0))).toBe(0)
      }
      const cached = Math.min(131_072, Math.floor(limit / 4), Math.ceil(MANY / STEP))
      expect(countDescriptors()).toBe(descriptors + cached)
      for (const nodeid of nodeids) bench.send(requests.forget(nodeid, 1))
      expect(bench.inodes).toBe(1)
      expect(countDescriptors()).toBe(descriptors)
      const left = process.memoryUsage.rss() - memory
      console.info(
        `${MANY} inodes: ${(elapsed / MANY / 1000).toFixed(2)} µs a lookup, ${Math.round(used / MANY)} bytes each while known (${Math.round(known / MANY)} in the tables), ${Math.round(left / 1024 / 1024)} MiB more after FORGET`,
      )
      // The descriptors' places and what pays no more to give back.
      expect(tableMemory() - tables).toBeLessThan(3 * 2 ** 20)
    } finally {
      fs.rmSync(where, { recursive: true, force: true })
    }
  },
  60_000 + MANY,
)

test('where no descriptor can be had, files are flushed and directories listed to the end', () => {
  const old = /Max open files\s+(\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024'
  limitTo(countDescriptors() + 600)
  // With a small cache of descriptors, therefore.
  start({ descriptorLimit: 0 })
  const names = Array.from({ length: 1000 }, (_, index) => `a-name-of-some-length-${index}`)
  fs.mkdirSync(bench.at('dir'))
  for (const name of names) fs.writeFileSync(bench.at('dir', name), '')
  const { nodeid, fh } = bench.create('file', O_RDWR)
  const dir = bench.lookup('dir').nodeid
  const dirFh = decodeOpenOut(bench.body(requests.opendir(dir))).fh
  const list = (plus: boolean): string[] => {
    const read = plus ? requests.readdirplus : requests.readdir
    const entries: DirectoryEntry[] = []
    for (;;) {
      const part = decodeDirectory(bench.body(read(dir, dirFh, entries.at(-1)?.off ?? 0n, 5000)), plus)
      if (part.length === 0) return entries.map(({ name }) => Buffer.from(name).toString()).toSorted()
      entries.push(...part)
    }
  }
  // Other inodes take the directory's place there.
  const nodeids = names.map((name) => bench.lookup(name, dir).nodeid)
  for (const known of nodeids) bench.attributes(requests.getattr(known))
  const own: number[] = []
  try {
    expect(() => {
      for (;;) own.push(fs.openSync('/dev/null', 'r'))
    }).toThrow('EMFILE')
    for (const plus of [false, true]) expect(list(plus)).toEqual(['.', '..', ...names].toSorted())
    expect(bench.errno(requests.flush(nodeid, fh))).toBe(0)
    expect(bench.errno(requests.open(nodeid, O_RDONLY))).toBe(Errno.ENFILE)
  } finally {
    for (const fd of own) fs.closeSync(fd)
    limitTo(old)
  }
})
