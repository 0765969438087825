// SPDX-License-Identifier: Apache-2.0
/** MKDIR, RMDIR, UNLINK, OPENDIR, READDIR, READDIRPLUS. */
import { closeSync, constants, existsSync, lstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { mountFarOffsets } from './harness/far-offsets.ts'
import { type DirectoryEntry, ROOT_ID } from './harness/fuse-abi.ts'
import type { FuseClient } from './harness/fuse-client.ts'
import { outcome, startSession } from './harness/session.ts'

/** Lists a whole directory by requests of `size` bytes. */
function list(client: FuseClient, nodeid: bigint, plus: boolean, size = 4096): DirectoryEntry[] {
  const fh = client.opendir(nodeid)
  const all: DirectoryEntry[] = []
  let offset = 0n
  for (;;) {
    const part = plus ? client.readdirplus(nodeid, fh, offset, size) : client.readdir(nodeid, fh, offset, size)
    if (part.length === 0) {
      break
    }
    all.push(...part)
    offset = part.at(-1)?.offset ?? 0n
  }
  client.releasedir(nodeid, fh)
  return all
}

test('makes and removes directories', async () => {
  const { client, daemon } = await startSession()
  const entry = client.mkdir(ROOT_ID, 'directory', 0o755)
  expect(entry.attr.mode).toBe(constants.S_IFDIR | 0o755)
  expect(lstatSync(join(daemon.sharedDir, 'directory')).isDirectory()).toBe(true)
  expect(outcome(() => client.mkdir(ROOT_ID, 'directory'))).toBe('EEXIST')
  client.create(entry.nodeid, 'file', 2)
  expect(outcome(() => client.rmdir(ROOT_ID, 'directory'))).toBe('ENOTEMPTY')
  expect(outcome(() => client.unlink(ROOT_ID, 'directory'))).toBe('EISDIR')
  expect(outcome(() => client.rmdir(entry.nodeid, 'file'))).toBe('ENOTDIR')
  client.unlink(entry.nodeid, 'file')
  client.rmdir(ROOT_ID, 'directory')
  expect(existsSync(join(daemon.sharedDir, 'directory'))).toBe(false)
  expect(outcome(() => client.rmdir(ROOT_ID, 'directory'))).toBe('ENOENT')
  expect(outcome(() => client.unlink(ROOT_ID, 'directory'))).toBe('ENOENT')
  // The inode lives on for whoever still knows it, but nothing can be made in it.
  expect(outcome(() => client.create(entry.nodeid, 'file', 2))).toBe('ENOENT')
})

test('lists names, types and inode numbers', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'abc')
  mkdirSync(join(daemon.sharedDir, 'directory'))
  client.symlink(ROOT_ID, 'link', 'target')
  client.mknod(ROOT_ID, 'fifo', constants.S_IFIFO | 0o600)
  const types = { file: 8, directory: 4, link: 10, fifo: 1 }
  for (const plus of [false, true]) {
    const entries = list(client, ROOT_ID, plus)
    const names = entries.map((entry) => entry.name).filter((name) => name !== '.' && name !== '..')
    expect(names.toSorted()).toEqual(Object.keys(types).toSorted())
    for (const [name, type] of Object.entries(types)) {
      const entry = entries.find((candidate) => candidate.name === name)
      expect(entry, name).toMatchObject({ type, ino: lstatSync(join(daemon.sharedDir, name), { bigint: true }).ino })
    }
  }
})

test('gives each entry of READDIRPLUS its node id and attributes, but not "." and ".."', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'abc')
  const known = client.lookup(ROOT_ID, 'file')
  for (const { name, entry } of list(client, ROOT_ID, true)) {
    expect(entry?.nodeid, name).toBe(name === 'file' ? known.nodeid : 0n)
    if (name === 'file') {
      expect(entry?.attr).toMatchObject({ size: 3, ino: known.attr.ino })
    }
  }
})

test('lists by small replies, and goes on anywhere', async () => {
  const { client, daemon } = await startSession()
  const names = Array.from({ length: 300 }, (_, i) => `${'n'.repeat(i % 200)}-${i}`)
  for (const name of names) {
    closeSync(openSync(join(daemon.sharedDir, name), 'w'))
  }
  for (const plus of [false, true]) {
    for (const size of [512, 1000, 4096, 32_768]) {
      const got = list(client, ROOT_ID, plus, size)
      expect(got).toHaveLength(302)
      expect(new Set(got.map((entry) => entry.name)).size).toBe(302)
    }
  }
  const fh = client.opendir(ROOT_ID)
  const whole = list(client, ROOT_ID, false)
  for (const index of [250, 3, 100, 99]) {
    const [next] = client.readdir(ROOT_ID, fh, whole[index]?.offset ?? 0n)
    expect(next?.name).toBe(whole[index + 1]?.name)
  }
  expect(client.readdir(ROOT_ID, fh, 0n)[0]?.name).toBe(whole[0]?.name)
})

test('sees entries that come and go while it lists', async () => {
  const { client, daemon } = await startSession()
  for (let i = 0; i < 500; i++) {
    closeSync(openSync(join(daemon.sharedDir, `file-${i}`), 'w'))
  }
  const fh = client.opendir(ROOT_ID)
  const seen: string[] = []
  let offset = 0n
  for (let round = 0; ; round++) {
    const part = client.readdirplus(ROOT_ID, fh, offset, 4096)
    if (part.length === 0) {
      break
    }
    seen.push(...part.map((entry) => entry.name))
    offset = part.at(-1)?.offset ?? 0n
    rmSync(join(daemon.sharedDir, `file-${round}`), { force: true })
  }
  expect(new Set(seen).size).toBe(seen.length)
  for (let i = 100; i < 500; i++) {
    expect(seen).toContain(`file-${i}`)
  }
  // A new listing on the same handle starts afresh.
  closeSync(openSync(join(daemon.sharedDir, 'new'), 'w'))
  const again: string[] = []
  for (let at = 0n; ; ) {
    const part = client.readdir(ROOT_ID, fh, at, 65_536)
    if (part.length === 0) {
      break
    }
    again.push(...part.map((entry) => entry.name))
    at = part.at(-1)?.offset ?? 0n
  }
  expect(again).toContain('new')
  expect(again).not.toContain('file-0')
})

// virtiofsd runs out of descriptors here where the hard limit is lower.
test.skipIf(REFERENCE !== undefined)('lists 100,000 entries completely and once each', async () => {
  const { client, daemon } = await startSession()
  const count = 100_000
  for (let i = 0; i < count; i++) {
    closeSync(openSync(join(daemon.sharedDir, `entry-${i}`), 'w'))
  }
  const entries = list(client, ROOT_ID, true, 131_072)
  const names = new Set(entries.map((entry) => entry.name))
  expect(entries).toHaveLength(count + 2)
  expect(names.size).toBe(count + 2)
  for (let i = 0; i < count; i++) {
    if (!names.has(`entry-${i}`)) {
      throw new Error(`entry-${i} is missing`)
    }
  }
  // Where descriptors are scarce, entries come without node id, and the guest looks them up when it needs them.
  const ids = entries.flatMap(({ entry }) => (entry === undefined || entry.nodeid === 0n ? [] : [entry.nodeid]))
  expect(ids.length).toBeGreaterThan(1000)
  expect(new Set(ids).size).toBe(ids.length)
  for (let at = 0; at < ids.length; at += 4000) {
    client.batchForget(ids.slice(at, at + 4000).map((nodeid) => ({ nodeid, lookups: 1 })))
  }
  expect(client.lookup(ROOT_ID, 'entry-99999').attr.nlink).toBe(1)
})

test.each([
  ['READDIR', false],
  ['READDIRPLUS', true],
])('finds offsets of 2^63 and above again, by %s', async (_, plus) => {
  const { backing, mountPoint } = await mountFarOffsets()
  // More than one getdents64 of the daemon brings.
  const names = Array.from({ length: 2000 }, (__, index) => `a-name-of-some-length-${index}`)
  for (const name of names) writeFileSync(join(backing, name), '')
  const { client } = await startSession({ sharedDir: mountPoint })
  const fh = client.opendir(ROOT_ID)
  const read = (offset: bigint): DirectoryEntry[] =>
    plus ? client.readdirplus(ROOT_ID, fh, offset, 32768) : client.readdir(ROOT_ID, fh, offset, 32768)
  // A reader whose buffer is smaller than the reply takes a part of it, and comes back for the rest.
  const all: DirectoryEntry[] = []
  for (let part = read(0n); part.length > 0; part = read(all.at(-1)?.offset ?? 0n)) {
    all.push(...part.slice(0, Math.ceil(part.length / 3)))
  }
  expect(all.every(({ offset }) => offset >= 1n << 63n)).toBe(true)
  expect(all.map(({ name }) => name).toSorted()).toEqual(['.', '..', ...names].toSorted())
  // telldir and seekdir, far back and to the start.
  for (const index of [1000, 3, 1999, 700]) {
    expect(read(all[index]?.offset ?? 0n)[0]?.name).toBe(all[index + 1]?.name)
  }
  expect(read(0n)[0]?.name).toBe(all[0]?.name)
})
