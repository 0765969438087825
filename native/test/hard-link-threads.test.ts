// SPDX-License-Identifier: Apache-2.0
/** The last two names of a file go at once, on two queues: the file that the guest knows stays usable. */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { requests } from '../../server/fuse/testing/messages.ts'
import { fileSystem } from '../index.ts'
import { counts } from '../testing/index.ts'
import { publishDefaultPolicy } from './testing/policy.ts'

const ROUNDS = 200

/** Both threads: each takes one of the names; the first also makes the file before and asks for it afterwards. */
const PROGRAM = `
const fs = require('node:fs')
const { parentPort, workerData } = require('node:worker_threads')
const { addon, directory, folder, index, rounds, operation, removal } = workerData
const { fileSystem, MessageServer } = require(addon)
const steps = new Int32Array(workerData.steps)
fileSystem.attachThread()
const reply = Buffer.alloc(256)
const plane = new MessageServer(directory)
/** @returns 0 or the error */
const send = (message) => (plane.serve(message, reply) === 0 ? 0 : reply.readInt32LE(4))
const serve = (opcode, nodeid, body) => {
  const message = Buffer.alloc(40 + body.length)
  message.writeUInt32LE(message.length, 0)
  message.writeUInt32LE(opcode, 4)
  message.writeBigUInt64LE(BigInt(nodeid), 16)
  body.copy(message, 40)
  return send(message)
}
const numbers = (...values) => Buffer.from(BigUint64Array.from(values, BigInt).buffer)
const LOOKUP = 1, FORGET = 2, GETATTR = 3
// Both go on from here at the same moment.
let step = 0
const meet = () => {
  step++
  Atomics.add(steps, 0, 1)
  while (Atomics.load(steps, 0) < 2 * step);
}
const wrong = []
for (let round = 0; round < rounds; round++) {
  let nodeid = 0
  if (index === 0) {
    fs.writeFileSync(folder + '/a', 'text')
    fs.linkSync(folder + '/a', folder + '/b')
    if (operation === 'rename') for (const name of ['c', 'd']) fs.writeFileSync(folder + '/' + name, '')
    if (serve(LOOKUP, 1, Buffer.from('a\\0')) !== 0) wrong.push('lookup')
    nodeid = Number(reply.readBigUInt64LE(16))
  }
  meet()
  const result = send(removal)
  if (result !== 0) wrong.push('round ' + round + ': ' + result)
  meet()
  if (index === 0) {
    const result = serve(GETATTR, nodeid, numbers(0, 0))
    const nlink = reply.readUInt32LE(16 + 16 + 64)
    if (result !== 0 || nlink !== 0) wrong.push('round ' + round + ': getattr ' + result + ', nlink ' + nlink)
    serve(FORGET, nodeid, numbers(1))
    // What has been put in their places.
    if (operation === 'rename') for (const name of ['a', 'b']) fs.unlinkSync(folder + '/' + name)
  }
}
parentPort.postMessage(wrong)
`

let folder: string
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-links-'))
})
afterEach(() => {
  fs.rmSync(folder, { recursive: true })
})

test.each([
  ['unlinked', 'unlink'],
  ['replaced', 'rename'],
] as const)('%s', async (_, operation) => {
  const directory = fileSystem.createSharedDirectory(folder, 1, 1, 2, 1000)
  publishDefaultPolicy(directory)
  const addon = createRequire(import.meta.url).resolve('#native-addon')
  const shared = { addon, directory, folder, rounds: ROUNDS, operation, steps: new SharedArrayBuffer(4) }
  const results = await Promise.all(
    [0, 1].map(async (index) => {
      const [name, other] = index === 0 ? ['a', 'c'] : ['b', 'd']
      const removal = operation === 'rename' ? requests.rename(1, other, 1, name) : requests.unlink(1, name)
      const worker = new Worker(PROGRAM, { eval: true, workerData: { ...shared, index, removal } })
      const wrong = await new Promise<string[]>((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      await worker.terminate()
      return wrong
    }),
  )
  expect(results.flat()).toEqual([])
  expect(counts.inodes(directory)).toBe(1)
})
