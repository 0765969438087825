// SPDX-License-Identifier: Apache-2.0
import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { drainEventFd } from '../index.ts'
import { testing } from '../testing/index.ts'

test('counts signals and is empty after a drain', () => {
  const fd = testing.eventfd()
  try {
    expect(drainEventFd(fd)).toBe(0)
    testing.eventfdWrite(fd)
    testing.eventfdWrite(fd)
    expect(drainEventFd(fd)).toBe(2)
    expect(drainEventFd(fd)).toBe(0)
  } finally {
    closeSync(fd)
  }
})

test('refuses what is no descriptor', () => {
  expect(() => drainEventFd(-1)).toThrow(RangeError)
  // @ts-expect-error a wrong type, as untyped callers may pass it
  expect(() => drainEventFd('1')).toThrow(TypeError)
  expect(() => drainEventFd(1.5)).toThrow(RangeError)
})

test('loads in a worker thread while the main thread has it loaded', async () => {
  const fd = testing.eventfd()
  const code = `
    const { createRequire } = require('node:module')
    const addon = createRequire(${JSON.stringify(import.meta.filename)})('#native-addon')
    require('node:worker_threads').parentPort.postMessage(addon.drainEventFd(${fd}))`
  testing.eventfdWrite(fd)
  const worker = new Worker(code, { eval: true })
  const count = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  expect([count, drainEventFd(fd)]).toEqual([1, 0])
  closeSync(fd)
})
