// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withLock } from './lock.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'viewfsd-lock-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('one at a time, and each gets its turn', async () => {
  const path = join(dir, 'lock')
  let inside = 0
  let turns = 0
  const work = async (): Promise<void> => {
    expect(++inside).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    inside--
    turns++
  }
  await Promise.all(Array.from({ length: 5 }, () => withLock(path, work)))
  expect(turns).toBe(5)
})

test('a failure lets go', async () => {
  const path = join(dir, 'lock')
  await expect(withLock(path, () => Promise.reject(new Error('of the work')))).rejects.toThrow('of the work')
  expect(await withLock(path, () => Promise.resolve(7))).toBe(7)
})

test('a killed owner’s lock is free', async () => {
  const path = join(dir, 'lock')
  const owner = spawn('flock', [path, 'sh', '-c', 'echo; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  await once(owner.stdout, 'data')
  const turn = withLock(path, () => Promise.resolve('free'))
  // flock's own process and the one that it runs hold it together.
  process.kill(-(owner.pid ?? Number.NaN), 'SIGKILL')
  expect(await turn).toBe('free')
})
