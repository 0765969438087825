// SPDX-License-Identifier: Apache-2.0
/** The misbehaving file system itself: that it behaves, and misbehaves, as it is told. */
import fs from 'node:fs'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Errno } from '../errno.ts'
import { MisbehavingFs } from './misbehaving-fs.ts'

let scratch: string
let disk: MisbehavingFs
beforeEach(async () => {
  scratch = await mkdtemp(path.join(os.tmpdir(), 'viewfsd-misbehaving-'))
  const [backing, mountPoint] = [path.join(scratch, 'backing'), path.join(scratch, 'mount')]
  fs.mkdirSync(backing)
  fs.mkdirSync(mountPoint)
  disk = await MisbehavingFs.mount(backing, mountPoint)
})
afterEach(async () => {
  await disk.unmount()
  await rm(scratch, { recursive: true })
})

test('it passes through', async () => {
  const data = Buffer.alloc(300_000, 'some text ')
  await writeFile(disk.at('file'), data)
  expect((await readFile(disk.at('file'))).equals(data)).toBe(true)
  expect(fs.readFileSync(path.join(disk.backing, 'file')).equals(data)).toBe(true)
  fs.mkdirSync(disk.at('dir'))
  fs.renameSync(disk.at('file'), disk.at('dir', 'file'))
  fs.symlinkSync('dir/file', disk.at('link'))
  fs.linkSync(disk.at('dir', 'file'), disk.at('second'))
  fs.chmodSync(disk.at('second'), 0o640)
  fs.truncateSync(disk.at('second'), 10)
  expect(fs.readdirSync(disk.mountPoint).toSorted()).toEqual(['dir', 'link', 'second'])
  expect(fs.readFileSync(disk.at('link'), 'utf8')).toBe('some text ')
  expect(fs.statSync(disk.at('second')).mode & 0o777).toBe(0o640)
  fs.unlinkSync(disk.at('second'))
  const counts = await disk.counts()
  expect(counts).toMatchObject({ create: 1, rename: 1, symlink: 1, link: 1, mkdir: 1, unlink: 1 })
})

test('it fails for one path, a number of times', async () => {
  await writeFile(disk.at('good'), 'good')
  await writeFile(disk.at('bad'), 'bad')
  const rule = await disk.fail('open', Errno.EIO, { path: '/bad', times: 1 })
  await expect(readFile(disk.at('bad'))).rejects.toMatchObject({ code: 'EIO' })
  expect(await readFile(disk.at('good'), 'utf8')).toBe('good')
  expect(await readFile(disk.at('bad'), 'utf8')).toBe('bad')
  expect(rule.hits).toBe(1)
})

test('the disk is full until the rule ends', async () => {
  const rule = await disk.fail('write', Errno.ENOSPC)
  await expect(writeFile(disk.at('file'), 'x')).rejects.toMatchObject({ code: 'ENOSPC' })
  await rule.end()
  await writeFile(disk.at('file'), 'x')
})

test('a stalled read waits, and others don’t', async () => {
  await writeFile(disk.at('slow'), 'slow')
  await writeFile(disk.at('quick'), 'quick')
  const file = await open(disk.at('slow'))
  const rule = await disk.stall('read', { path: '/slow' })
  let finished = false
  const reading = file.readFile('utf8').then((text) => {
    finished = true
    return text
  })
  await rule.hit()
  expect(await readFile(disk.at('quick'), 'utf8')).toBe('quick')
  await delay(50)
  expect(finished).toBe(false)
  await rule.end()
  expect(await reading).toBe('slow')
  await file.close()
})

test('reads are shortened, files truncated behind the kernel’s back', async () => {
  await writeFile(disk.at('file'), '0123456789')
  const rule = await disk.shorten('read', 4, { path: '/file' })
  expect((await readFile(disk.at('file'))).subarray(0, 4).toString()).toBe('0123')
  await rule.end()
  disk.truncateBehind('file', 2)
  expect(fs.statSync(path.join(disk.backing, 'file')).size).toBe(2)
})
