// SPDX-License-Identifier: Apache-2.0
/** A guest that fills its rings faster than they are emptied: neither a stop nor the other queue waits for it. */
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { addonPath, fileSystem } from '../index.ts'
import { testing } from '../testing/index.ts'
import { AVAILABLE, BUFFERS, RingDriver } from './ring-driver.ts'
import { publishDefaultPolicy } from './testing/policy.ts'

const GETATTR = 3
const SIZE = 1024
/** Far more rounds than a stop needs, and longer than a queue thread that does not look at it takes for many rings. */
const ROUNDS = 200_000

/** A queue thread that answers each request with nothing. */
const SERVE = `
  const { workerData, parentPort } = require('node:worker_threads')
  const addon = { exports: {} }
  process.dlopen(addon, workerData.addonPath)
  const worker = new addon.exports.QueueWorker(workerData.device, 0, workerData.directory)
  parentPort.postMessage('ready')
  while (worker.next() !== -1) worker.noReply()
  worker.close()`

/** A thread that runs `source` with a device's first worker. */
function startThread(source: string, device: number, directory: number): Worker {
  return new Worker(source, { eval: true, workerData: { addonPath: addonPath(), device, directory } })
}

/** A shared directory whose data plane serves what it can. */
function servedDirectory(): number {
  const directory = fileSystem.createSharedDirectory(tmpdir(), 1, 1, 1, 1000)
  publishDefaultPolicy(directory)
  return directory
}

test.each([
  ['that are refused', 39, () => -1],
  ['that are asked about', 40, () => -1],
  ['that the data plane serves', 40, servedDirectory],
])('grants a stop amid requests %s', async (_name, length, directory) => {
  const ring = new RingDriver({ size: SIZE })
  const thread = startThread(SERVE, ring.control.id, directory())
  await once(thread, 'message')
  ring.bytes.set(RingDriver.request(40, GETATTR, 1), BUFFERS)
  // A long chain, so that a full ring of them lasts until it is filled again.
  const empty = { address: BUFFERS, length: 0, writable: false }
  const slots = Array.from({ length: 1000 }, (_, slot) => slot)
  ring.chain(slots, [{ ...empty, length }, ...slots.slice(1).map(() => empty)])
  // Head 0 is in all entries of the ring.
  const fill = (): void => ring.setAvailableIndex((ring.usedIndex + SIZE) & 0xffff)
  fill()
  testing.eventfdWrite(ring.kick)
  while (ring.usedIndex < SIZE) fill()
  let rounds = 0
  while (!ring.control.requestStop(1) && rounds < ROUNDS) {
    rounds++
    fill()
  }
  expect(rounds).toBeLessThan(ROUNDS)
  ring.control.finishStop(1)
  ring.control.destroy()
  await once(thread, 'exit')
})

test('comes back from a ring that feeds itself', async () => {
  const ring = new RingDriver({ size: SIZE })
  ring.bytes.set(RingDriver.request(40, GETATTR, 1), BUFFERS)
  ring.chain([0], [{ address: BUFFERS, length: 39, writable: false }])
  // Queue 0 has its used ring where its available ring is. It takes its used index from there when it starts, after this
  // request: each completion makes the next one available.
  ring.publish(0)
  ring.start(0, 0, AVAILABLE)
  const source = SERVE.replace("parentPort.postMessage('ready')", '').replace(
    'while (worker.next() !== -1) worker.noReply()',
    'parentPort.postMessage(worker.next())',
  )
  const thread = startThread(source, ring.control.id, -1)
  const returned = once(thread, 'message')
  try {
    expect(await returned).toEqual([-2])
  } finally {
    ring.control.destroy()
    await once(thread, 'exit')
  }
}, 10_000)

test('serves two queues of one thread in turns', () => {
  const ring = new RingDriver({ size: 8 })
  ring.start(0, 0, 0xc000)
  for (let i = 0; i < 4; i++) ring.submitSimple(RingDriver.request(40, GETATTR, i), 16)
  const order = Array.from({ length: 8 }, () => {
    const queue = ring.worker.next(0)
    ring.worker.noReply()
    return queue
  })
  expect(order).toEqual([0, 1, 0, 1, 0, 1, 0, 1])
})

test('a request that the stop of another queue interrupted is taken again when that stop is over', async () => {
  const ring = new RingDriver({ size: 8 })
  ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  expect(ring.worker.next(0)).toBe(1)
  expect(ring.control.requestStop(0)).toBe(true)
  ring.worker.giveBack()
  for (let i = 0; i < 3; i++) expect(ring.worker.next(0)).toBe(-2)
  ring.control.finishStop(0)
  expect(ring.worker.next(0)).toBe(1)
  ring.worker.close()
  // The end of the stop wakes a thread that sleeps.
  const source = SERVE.replace(
    'while (worker.next() !== -1) worker.noReply()',
    `worker.next(); worker.giveBack(); parentPort.postMessage(worker.next(1000)); parentPort.postMessage(worker.next())`,
  )
  const again = new RingDriver({ size: 8 })
  again.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  again.control.requestStop(0)
  const thread = startThread(source, again.control.id, -1)
  const answers: number[] = []
  const done = new Promise<void>((resolve) => {
    thread.on('message', (answer) => {
      if (answer === -2) again.control.finishStop(0)
      if (answer === 1) resolve()
      answers.push(Number(answer))
    })
  })
  await done
  expect(answers.slice(1)).toEqual([-2, 1])
  again.control.destroy()
  await once(thread, 'exit')
})

test('a thread shows the request that it is at work on, and none while it waits', () => {
  const ring = new RingDriver({ size: 8 })
  expect(ring.control.requestsInProgress()).toEqual([])
  ring.submitSimple(RingDriver.request(40, GETATTR, 1), 16)
  ring.worker.next(0)
  expect(ring.control.requestsInProgress()).toMatchObject([{ worker: 0, number: 1, opcode: GETATTR, nodeid: 0 }])
  ring.worker.replyError(0)
  expect(ring.worker.next(0)).toBe(-2)
  expect(ring.control.requestsInProgress()).toEqual([])
})
