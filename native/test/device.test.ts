// SPDX-License-Identifier: Apache-2.0
/** The device as a whole: arguments, memory, threads, garbage collection and the end of the process. */
import { spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DeviceControl, drainEventFd, fileSystem, MemoryView, QueueWorker } from '../index.ts'
import { testing } from '../testing/index.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import { BUFFERS, MEMORY_BYTES, RingDriver } from './ring-driver.ts'
import { publishDefaultPolicy } from './testing/policy.ts'

const INDEX = resolve(import.meta.dirname, '../index.ts')
const { EINVAL, EFAULT } = constants.errno

/** Runs CommonJS code in a process of its own, with `addon` at hand. */
function runProcess(code: string, ...flags: string[]): { status: number | null; stdout: string; stderr: string } {
  const prelude = `
    const { createRequire } = require('node:module')
    const addon = createRequire(${JSON.stringify(INDEX)})('#native-addon')
    const { Worker } = require('node:worker_threads')`
  return spawnSync(process.execPath, ['--conditions=testing', ...flags, '-e', prelude + code], {
    encoding: 'utf8',
    timeout: 30_000,
  })
}

function mappingsOf(name: string): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`memfd:${name}`)).length
}

describe('arguments', () => {
  const control = new DeviceControl(2)
  test.each([
    ['a queue that is not there', () => control.setVringSize(2, 8), RangeError],
    ['a size that is no power of two', () => control.setVringSize(0, 3), RangeError],
    ['a size beyond 32768', () => control.setVringSize(0, 65536), RangeError],
    ['a base beyond 16 bits', () => control.setVringBase(0, 65536), RangeError],
    ['two addresses', () => control.setVringAddresses(0, BigUint64Array.of(1n, 2n)), RangeError],
    ['regions of three numbers', () => control.setMemoryTable(BigUint64Array.of(1n, 2n, 3n), []), RangeError],
    // @ts-expect-error a plain array
    ['regions that are no BigUint64Array', () => control.setMemoryTable([1, 2, 3, 4], []), TypeError],
    ['no queues at all', () => new DeviceControl(0), RangeError],
    ['a worker of no device', () => new QueueWorker(999_999, 0, -1), RangeError],
    ['a worker too many', () => new QueueWorker(control.id, 1, -1), RangeError],
  ])('%s', (_name, call, kind) => {
    expect(call).toThrow(kind)
  })

  test('a region without a descriptor', () => {
    expect(() => control.setMemoryTable(BigUint64Array.of(0n, 4096n, 0n, 0n), [])).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  })
})

describe('guest memory', () => {
  test('is unmapped when a table without it comes, and kept where it stays', () => {
    const control = new DeviceControl(2)
    onTestFinished(() => control.destroy())
    const [first, second] = [testing.memfdCreate('kept', 8192), testing.memfdCreate('dropped', 8192)]
    const kept = [0n, 8192n, 0x10000n, 0n]
    control.setMemoryTable(BigUint64Array.of(...kept, 0x100000n, 8192n, 0x20000n, 0n), [first, second])
    expect([mappingsOf('kept'), mappingsOf('dropped')]).toEqual([1, 1])
    control.setMemoryTable(BigUint64Array.of(...kept), [first])
    expect([mappingsOf('kept'), mappingsOf('dropped')]).toEqual([1, 0])
    control.addRegion(BigUint64Array.of(0x100000n, 8192n, 0x20000n, 0n), second)
    expect(control.counters().memoryRegions).toBe(2)
    control.removeRegion(BigUint64Array.of(...kept))
    expect([mappingsOf('kept'), mappingsOf('dropped')]).toEqual([0, 1])
    expect(() => control.removeRegion(BigUint64Array.of(...kept))).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    control.reset()
    expect(mappingsOf('dropped')).toBe(0)
    for (const fd of [first, second]) closeSync(fd)
  })

  test('stays mapped for the request that uses it', () => {
    const ring = new RingDriver()
    ring.submitSimple(RingDriver.request(40, 3, 1), 16)
    expect(ring.worker.next(0)).toBe(1)
    const other = testing.memfdCreate('other', 4096)
    ring.control.setMemoryTable(BigUint64Array.of(0n, 4096n, 0n, 0n), [other])
    closeSync(other)
    expect(ring.worker.replyError(0)).toBe(0)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    // The ring is not in the new table.
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.control.brokenReason(1)).toMatch(/outside of the memory table/)
  })
})

describe('file data goes straight to and from the guest', () => {
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 31) & 0xff))

  /** A ring whose data plane serves a directory with one open file. */
  function openShared(): { ring: RingDriver; directory: number; nodeid: number; fh: number; path: string } {
    const scratch = mkdtempSync(join(tmpdir(), 'viewfsd-data-'))
    const path = join(scratch, 'file')
    writeFileSync(path, content)
    fileSystem.attachThread()
    const directory = fileSystem.createSharedDirectory(scratch, 1, 1, 1, 1000)
    publishDefaultPolicy(directory)
    onTestFinished(() => {
      fileSystem.reset(directory)
      rmSync(scratch, { recursive: true })
    })
    const ring = new RingDriver({ directory })
    ring.submitSimple(requests.lookup(1, 'file'), 144, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    ring.takeUsed()
    const nodeid = Number(ring.view.getBigUint64(REPLY + 16, true))
    ring.submitSimple(requests.open(nodeid, 2), 32, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    ring.takeUsed()
    const fh = Number(ring.view.getBigUint64(REPLY + 16, true))
    return { ring, directory, nodeid, fh, path }
  }
  const REPLY = 0x200000

  test('a READ, with its header last and the end of file told', () => {
    const { ring, nodeid, fh } = openShared()
    ring.submitSimple(requests.read(nodeid, fh, 50_000, 65_536), 16 + 65_536, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 + 50_000 })
    expect(Buffer.from(ring.bytes.subarray(REPLY + 16, REPLY + 50_016)).equals(content.subarray(50_000))).toBe(true)
    ring.submitSimple(requests.read(nodeid, fh, 10, 1_000_000), 16 + 100, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    expect(ring.view.getInt32(REPLY + 4, true)).toBe(-EINVAL)
  })

  test('READs in a batch: one that would wait first lets the guest know of those before it', () => {
    const { ring, nodeid, fh } = openShared()
    for (let i = 0; i < 4; i++) {
      const message = requests.read(nodeid, fh, 30_000 * i, 4096)
      ring.bytes.set(message, BUFFERS + 128 * i)
      ring.chain(
        [2 * i, 2 * i + 1],
        [
          { address: BUFFERS + 128 * i, length: message.length, writable: false },
          { address: REPLY + 8192 * i, length: 4112, writable: true },
        ],
      )
      ring.publish(2 * i)
    }
    for (let i = 0; i < 4; i++) {
      expect(ring.worker.next(0)).toBe(-2)
      expect(ring.takeUsed()).toEqual({ id: 2 * i, length: 4112 })
      const data = ring.bytes.subarray(REPLY + 16 + 8192 * i, REPLY + 16 + 8192 * i + 4096)
      expect(Buffer.from(data).equals(content.subarray(30_000 * i, 30_000 * i + 4096))).toBe(true)
    }
    expect(drainEventFd(ring.call)).toBeGreaterThan(0)
  })

  test('a READ into memory that is not there is an error, not a short read', () => {
    const { ring, nodeid, fh } = openShared()
    ftruncateSync(ring.memfd, MEMORY_BYTES - 8192)
    const reply = MEMORY_BYTES - 8192 - 4096
    ring.submitSimple(requests.read(nodeid, fh, 0, 8000), 8192, reply)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 16 })
    expect(ring.view.getInt32(reply + 4, true)).toBe(-EFAULT)
  })

  test('a WRITE of part of what came with it', () => {
    const { ring, nodeid, fh, path } = openShared()
    const data = content.subarray(7000, 12_000)
    const message = requests.write(nodeid, fh, 200_000, data)
    ring.submitSimple(message, 24, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.takeUsed()).toEqual({ id: 0, length: 24 })
    expect(ring.view.getUint32(REPLY + 16, true)).toBe(5000)
    expect(readFileSync(path).subarray(200_000).equals(data)).toBe(true)
    // More than came.
    new DataView(message.buffer).setUint32(40 + 16, 9999, true)
    ring.submitSimple(message, 24, REPLY)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.view.getInt32(REPLY + 4, true)).toBe(-EINVAL)
  })

  test('when the session has ended, requests are asked about', () => {
    const { ring, directory, nodeid, fh } = openShared()
    fileSystem.reset(directory)
    ring.submitSimple(requests.read(nodeid, fh, 0, 100), 116, REPLY)
    expect(ring.worker.next(0)).toBe(1)
    ring.worker.replyError(EINVAL)
  })

  test('a WRITE from memory that is not there', () => {
    const { ring, nodeid, fh, path } = openShared()
    const message = requests.write(nodeid, fh, 0, new Uint8Array(4096)).subarray(0, 80)
    ring.bytes.set(message, BUFFERS)
    ring.chain(
      [0, 1, 2],
      [
        { address: BUFFERS, length: 80, writable: false },
        { address: MEMORY_BYTES + 4096, length: 4096, writable: false },
        { address: REPLY, length: 24, writable: true },
      ],
    )
    ring.publish(0)
    expect(ring.worker.next(0)).toBe(-2)
    expect(ring.view.getInt32(REPLY + 4, true)).toBe(-EFAULT)
    expect(readFileSync(path).equals(content)).toBe(true)
  })
})

/** A worker thread that answers every request with 0 until the device ends. */
function serve(device: number): Worker {
  return new Worker(
    `const { createRequire } = require('node:module')
       const addon = createRequire(${JSON.stringify(INDEX)})('#native-addon')
       const worker = new addon.QueueWorker(${device}, 0, -1)
       let count = 0
       while (worker.next() >= 0) { worker.replyError(0); count++ }
       require('node:worker_threads').parentPort.postMessage(count)`,
    { eval: true },
  )
}

describe('threads', () => {
  test('serve a ring that the main thread has set up, until the end', async () => {
    const ring = new RingDriver()
    ring.worker.close()
    const thread = serve(ring.control.id)
    const counted = new Promise<unknown>((done) => thread.once('message', done))
    for (let i = 1; i <= 200; i++) {
      ring.submitSimple(RingDriver.request(40, 3, i), 16)
      while (ring.takeUsed() === undefined) await new Promise((done) => setImmediate(done))
    }
    ring.control.destroy()
    expect(await counted).toBe(200)
  })

  test('let go of a ring within a blocked wait', async () => {
    const ring = new RingDriver()
    ring.worker.close()
    const thread = serve(ring.control.id)
    ring.submitSimple(RingDriver.request(40, 3, 1), 16)
    while (ring.takeUsed() === undefined) await new Promise((done) => setImmediate(done))
    while (!ring.control.requestStop(1)) await new Promise((done) => setImmediate(done))
    expect(ring.control.finishStop(1)).toBe(1)
    testing.eventfdWrite(ring.kick)
    ring.control.destroy()
    await new Promise((done) => thread.once('exit', done))
  })
})

describe('process', () => {
  const setUp = `
    const control = new addon.DeviceControl(2)
    const thread = new Worker(
      \`const addon = require('node:module').createRequire(${JSON.stringify(INDEX)})('#native-addon')
        const worker = new addon.QueueWorker(\${control.id}, 0, -1)
        require('node:worker_threads').parentPort.postMessage('up')
        worker.next()\`, { eval: true })`

  test('ends when a blocked thread is told to', () => {
    const code = `${setUp}
      thread.once('message', () => setTimeout(() => control.destroy(), 50))
      thread.once('exit', (code) => console.log('thread', code))`
    expect(runProcess(code)).toMatchObject({ status: 0, stdout: 'thread 0\n', stderr: '' })
  })

  test('ends at once, with a blocked thread or not', () => {
    const code = `${setUp}
      thread.once('message', () => setTimeout(() => addon.exitNow(7), 50))`
    expect(runProcess(code)).toMatchObject({ status: 7, stderr: '' })
  })

  test('survives collection of every object, in any state', () => {
    const code = `
      const fs = require('node:fs')
      const before = fs.readdirSync('/proc/self/fd').length
      for (let i = 0; i < 200; i++) {
        const control = new addon.DeviceControl(3)
        const worker = new addon.QueueWorker(control.id, i % 2, -1)
        if (i % 3 === 0) worker.next(0)
        control.setVringCall(0, addon.testing.eventfd())
        control.destroy()
        if (i % 5 === 0) worker.close()
        if (i % 20 === 0) gc()
      }
      // Finalizers of Node-API objects run from the event loop.
      const settle = (left) => left > 0 ? (gc(), setImmediate(settle, left - 1)) :
        console.log(fs.readdirSync('/proc/self/fd').length - before < 10)
      settle(20)`
    expect(runProcess(code, '--expose-gc')).toMatchObject({ status: 0, stdout: 'true\n', stderr: '' })
  })

  test('still dies of a fault of its own', () => {
    const code = `
      new addon.DeviceControl(2)
      process.kill(process.pid, 'SIGSEGV')
      setTimeout(() => {}, 10000)`
    expect(runProcess(code).status).not.toBe(0)
  })
})

test('a closed descriptor is nobody else’s: a device closes what it was given, once', () => {
  const before = readdirSync('/proc/self/fd').length
  const control = new DeviceControl(2)
  control.setVringCall(0, testing.eventfd())
  control.setVringCall(0, testing.eventfd())
  control.setVringCall(0, -1)
  control.setVringKick(0, testing.eventfd())
  control.setVringError(1, testing.eventfd())
  control.requestStop(0)
  control.finishStop(0)
  control.reset()
  const own = new DeviceControl(2)
  const perDevice = readdirSync('/proc/self/fd').length - before
  own.destroy()
  control.destroy()
  // Two devices' own descriptors: one epoll and two eventfds each and the backend channel's.
  expect(perDevice).toBe(2 * 4)
})

describe('MemoryView without the driver', () => {
  test('names the missing device', () => {
    expect(() => MemoryView.create(1 << 21, '/nonexistent/memory-view')).toThrow(
      expect.objectContaining({ code: 'ENOENT', path: '/nonexistent/memory-view', syscall: 'open' }),
    )
  })

  test('returns errnos for a descriptor that is no view, and refuses bad arguments', () => {
    const view = MemoryView.borrow(0)
    const { ENOTTY } = constants.errno
    expect([-ENOTTY, -EINVAL]).toContain(view.map(0, 4096, 0, 0, 1))
    expect(() => view.map(-1, 4096, 0, 0, 1)).toThrow(RangeError)
    expect(() => view.unmapMany(new Float64Array(2), 2)).toThrow(RangeError)
    expect(view.unmapMany(Float64Array.of(Number.NaN, 1), 1)).toBe(-EINVAL)
    expect(view.unmapMany(new Float64Array(0), 0)).toBe(0)
    view.close()
    expect(() => view.unmap(0, 4096)).toThrow(/closed/)
  })
})
