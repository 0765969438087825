// SPDX-License-Identifier: Apache-2.0
/**
 * Several threads on one shared directory, as the queues of a hostile guest: while one looks up, opens and reads, others
 * forget and release the same things. No call may ever see another file than the one it asked for.
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fileSystem } from '../index.ts'
import { counts } from '../testing/index.ts'
import { publishDefaultPolicy } from './testing/policy.ts'

const FILES = 20
/** Operations of each thread: by number, since a slow machine may not even have started its threads after a second. */
const ROUNDS = 100_000
const THREADS = 3

/** What each thread runs. `table` is shared: nodeid and fh of each file, as the threads last saw them. */
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
const { fileSystem, MessageServer } = require(workerData.addon)
const { directory, seed, files, rounds } = workerData
const nodeids = new Float64Array(workerData.nodeids)
const handles = new BigInt64Array(workerData.handles)
fileSystem.attachThread()
let state = seed
const random = (limit) => (state = (state * 1103515245 + 12345) % 2147483648) % limit
const names = Buffer.from(Array.from({ length: files }, (_, index) => 'file' + String(index).padStart(4, '0') + '\\0').join(''))
const reply = Buffer.alloc(8192)
const plane = new MessageServer(directory)
/** @returns 0 or the error */
const serve = (opcode, nodeid, body, room = reply.length) => {
  const message = Buffer.alloc(40 + body.length)
  message.writeUInt32LE(message.length, 0)
  message.writeUInt32LE(opcode, 4)
  message.writeBigUInt64LE(BigInt(nodeid), 16)
  body.copy(message, 40)
  return plane.serve(message, reply.subarray(0, room)) === 0 ? 0 : reply.readInt32LE(4)
}
const numbers = (...values) => Buffer.from(BigUint64Array.from(values, BigInt).buffer)
const LOOKUP = 1, FORGET = 2, GETATTR = 3, OPEN = 14, READ = 15, RELEASE = 18, OPENDIR = 27, READDIRPLUS = 44, RELEASEDIR = 29
const counts = { lookup: 0, read: 0, stale: 0, forget: 0, release: 0, readdir: 0, wrong: [] }
const ESTALE = -116, EBADF = -9
for (let round = 0; round < rounds; round++) {
  const file = random(files)
  const nodeid = nodeids[file]
  switch (random(7)) {
    case 0:
    case 1: {
      const result = serve(LOOKUP, 1, names.subarray(file * 9, file * 9 + 9))
      if (result !== 0) counts.wrong.push('lookup ' + result)
      else if (Number(reply.readBigUInt64LE(16 + 40 + 8)) !== 4 + file) counts.wrong.push('lookup found another file')
      nodeids[file] = Number(reply.readBigUInt64LE(16))
      counts.lookup++
      break
    }
    case 2: {
      const result = serve(OPEN, nodeid, numbers(0))
      // The one before is nobody's then: a thread that opens for ever would run out of descriptors.
      if (result === 0) serve(RELEASE, nodeid, numbers(Atomics.exchange(handles, file, reply.readBigInt64LE(16)), 0, 0))
      else if (result !== ESTALE) counts.wrong.push('open ' + result)
      break
    }
    case 3: {
      const result = serve(GETATTR, nodeid, numbers(0, 0))
      if (result === ESTALE) counts.stale++
      else if (result !== 0 || Number(reply.readBigUInt64LE(16 + 16 + 8)) !== 4 + file) counts.wrong.push('getattr ' + result)
      break
    }
    case 4: {
      // struct fuse_read_in: fh, offset, size 64
      const result = serve(READ, nodeid, numbers(handles[file], 0, 64, 0, 0), 16 + 64)
      if (result === 0) {
        const length = reply.readUInt32LE(0) - 16
        if (length !== 4 + file || reply.toString('latin1', 16, 20) !== String(file).padStart(4, '0')) counts.wrong.push('read another file')
        counts.read++
      } else if (result !== EBADF) counts.wrong.push('read ' + result)
      break
    }
    case 5:
      serve(RELEASE, nodeid, numbers(handles[file], 0, 0))
      counts.release++
      break
    case 6:
      if (random(4) === 0) {
        serve(OPENDIR, 1, numbers(0))
        const fh = reply.readBigUInt64LE(16)
        const result = serve(READDIRPLUS, 1, numbers(fh, 0, 8192, 0, 0))
        if (result !== 0 || reply.readUInt32LE(0) < 1000) counts.wrong.push('readdir ' + result)
        serve(RELEASEDIR, 1, numbers(fh, 0, 0))
        counts.readdir++
      } else {
        serve(FORGET, nodeid, numbers(1 + random(1000)), 0)
        counts.forget++
      }
      break
  }
}
parentPort.postMessage(counts)
`

let scratch: string
beforeEach(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-threads-'))
})
afterEach(() => {
  fs.rmSync(scratch, { recursive: true })
})

test('a nodeid and a handle mean one file, whatever other threads forget and release', async () => {
  for (let index = 0; index < FILES; index++) {
    const name = String(index).padStart(4, '0')
    fs.writeFileSync(path.join(scratch, `file${name}`), name + 'x'.repeat(index))
  }
  const descriptors = fs.readdirSync('/proc/self/fd').length
  const directory = fileSystem.createSharedDirectory(scratch, 1, 1, 1, 1000)
  publishDefaultPolicy(directory)
  const shared = {
    addon: createRequire(import.meta.url).resolve('#native-addon'),
    directory,
    files: FILES,
    nodeids: new SharedArrayBuffer(FILES * 8),
    handles: new SharedArrayBuffer(FILES * 8),
    rounds: ROUNDS,
  }
  const results = await Promise.all(
    Array.from({ length: THREADS }, async (_, index) => {
      const worker = new Worker(PROGRAM, { eval: true, workerData: { ...shared, seed: 4711 + index } })
      const result = await new Promise<Record<string, number> & { wrong: string[] }>((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      await worker.terminate()
      return result
    }),
  )
  expect(results.flatMap(({ wrong }) => wrong)).toEqual([])
  for (const operation of ['lookup', 'read', 'stale', 'forget', 'release', 'readdir']) {
    expect([operation, results.some((result) => (result[operation] ?? 0) > 0)]).toEqual([operation, true])
  }
  fileSystem.reset(directory)
  expect([counts.inodes(directory), counts.handles(directory)]).toEqual([1, 0])
  // The root's descriptor, that of its mount, the tables' and that of /proc/self/fd stay.
  expect(fs.readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(descriptors + 5)
}, 60_000)
