// SPDX-License-Identifier: Apache-2.0
import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { createEventFd, drainEventFd, signalEventFd } from '../index.ts'

test('counts signals and is empty after a drain', () => {
  const fd = createEventFd()
  try {
    expect(drainEventFd(fd)).toBe(0)
    signalEventFd(fd)
    signalEventFd(fd)
    expect(drainEventFd(fd)).toBe(2)
    expect(drainEventFd(fd)).toBe(0)
  } finally {
    closeSync(fd)
  }
})

test('refuses what is no descriptor', () => {
  expect(() => signalEventFd(-1)).toThrow(RangeError)
  // @ts-expect-error a wrong type, as untyped callers may pass it
  expect(() => signalEventFd('1')).toThrow(TypeError)
  expect(() => signalEventFd(1.5)).toThrow(RangeError)
})

test('loads in a worker thread while the main thread has it loaded', async () => {
  const fd = createEventFd()
  const code = `
    const { createRequire } = require('node:module')
    const addon = createRequire(${JSON.stringify(import.meta.filename)})('#native-addon')
    addon.signalEventFd(${fd})`
  const worker = new Worker(code, { eval: true })
  await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  expect(drainEventFd(fd)).toBe(1)
  closeSync(fd)
})
