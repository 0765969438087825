// SPDX-License-Identifier: Apache-2.0
/** LOOKUP, and names of every kind. */
import { lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'

test('finds an entry with its attributes', async () => {
  const { client, daemon } = await startSession()
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, 'twelve bytes', { mode: 0o640 })
  const host = lstatSync(path, { bigint: true })
  const { attr, nodeid } = client.lookup(ROOT_ID, 'file')
  expect(nodeid).not.toBe(0n)
  expect(nodeid).not.toBe(ROOT_ID)
  expect(attr).toMatchObject({
    ino: host.ino,
    size: 12,
    blocks: Number(host.blocks),
    mode: Number(host.mode),
    nlink: 1,
    uid: Number(host.uid),
    gid: Number(host.gid),
    rdev: 0,
    mtime: host.mtimeNs / 1_000_000_000n,
    mtimensec: Number(host.mtimeNs % 1_000_000_000n),
    ctime: host.ctimeNs / 1_000_000_000n,
    ctimensec: Number(host.ctimeNs % 1_000_000_000n),
  })
})

test('gives one inode one node id, whatever its name', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'a'), '')
  const first = client.lookup(ROOT_ID, 'a')
  client.link(first.nodeid, ROOT_ID, 'b')
  expect(client.lookup(ROOT_ID, 'b').nodeid).toBe(first.nodeid)
  expect(client.lookup(ROOT_ID, 'a').nodeid).toBe(first.nodeid)
})

test('says why an entry is not found', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), '')
  const file = client.lookup(ROOT_ID, 'file')
  expect(outcome(() => client.lookup(ROOT_ID, 'nothing'))).toBe('ENOENT')
  expect(outcome(() => client.lookup(ROOT_ID, 'n'.repeat(256)))).toBe('ENAMETOOLONG')
  expect(outcome(() => client.lookup(file.nodeid, 'child'))).toBe('ENOTDIR')
})

test('carries names of 255 bytes in any encoding', async () => {
  const { client, daemon } = await startSession()
  const allBytes = Uint8Array.from({ length: 255 }, (_, i) => (i + 1 === 0x2f ? 0x80 : i + 1))
  const latin = Buffer.from('\xe4\xf6\xfc\xff\xfe', 'latin1')
  const names = [
    allBytes,
    latin,
    Buffer.alloc(255, 0xff),
    Buffer.from('\u{1f600}'.repeat(63)),
    Buffer.from('with space\nand newline'),
    Buffer.from('\\'),
    Buffer.from('...'),
    Buffer.from('-rf'),
  ]
  for (const name of names) {
    const { entry, fh } = client.create(ROOT_ID, name, 2)
    expect(client.write(entry.nodeid, fh, 0, name)).toBe(name.length)
    client.release(entry.nodeid, fh)
    expect(client.lookup(ROOT_ID, name).attr.size).toBe(name.length)
  }
  const onHost = readdirSync(daemon.sharedDir, 'buffer').map((name) => name.toString('latin1'))
  const expected = names.map((name) => Buffer.from(name).toString('latin1'))
  expect(onHost.toSorted()).toEqual(expected.toSorted())
  const fh = client.opendir(ROOT_ID)
  const listed = client.readdir(ROOT_ID, fh, 0n, 65536).map((entry) => entry.name)
  expect(listed.filter((name) => name !== '.' && name !== '..').toSorted()).toEqual(expected.toSorted())
  for (const name of names) {
    client.rename(ROOT_ID, name, ROOT_ID, Buffer.concat([name.subarray(0, 254), Buffer.from('!')]))
  }
  expect(outcome(() => client.create(ROOT_ID, new Uint8Array(256).fill(0x61), 2))).toBe('ENAMETOOLONG')
})

test('walks deep trees', async () => {
  const { client, daemon } = await startSession()
  const parts = Array.from({ length: 200 }, (_, i) => `directory-${i}`)
  mkdirSync(join(daemon.sharedDir, ...parts.slice(0, 100)), { recursive: true })
  let nodeid = client.walk(parts.slice(0, 100).join('/')).nodeid
  for (const part of parts.slice(100)) {
    nodeid = client.mkdir(nodeid, part).nodeid
  }
  expect(lstatSync(join(daemon.sharedDir, ...parts)).isDirectory()).toBe(true)
})
