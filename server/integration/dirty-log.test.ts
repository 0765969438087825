// SPDX-License-Identifier: Apache-2.0
/** The log of a frontend that migrates its guest: what the daemon has written to the guest's memory. */
import { constants, ftruncateSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { DirtyLog, setLogBase, setLogging, startLogging, stopDevice } from './harness/migration.ts'
import { instructionsOf, KillAt } from './harness/kill-at.ts'
import { killServer, serverBelow } from './harness/serving-process.ts'
import { startSession } from './harness/session.ts'

const { O_DIRECT, O_RDONLY, O_RDWR } = constants

/** @param sizeBytes as many as 64 MiB of memory need: 16384 pages, and as many bits */
function newLog(sizeBytes = 2048): DirtyLog {
  const log = new DirtyLog(sizeBytes)
  onTestFinished(() => log.close())
  return log
}

function pageOf(gpa: number): number {
  return Math.floor(gpa / 4096)
}

test.each([
  ['on the queue’s thread', [], 0],
  ['by the kernel or the pool', ['--allow-direct-io'], O_DIRECT],
  ['by the pool', ['--allow-direct-io', '--thread-pool-size=1'], O_DIRECT],
])('has what is read, %s', async (_name, args, flags) => {
  const session = await startSession({ args })
  const { client, memory } = session
  writeFileSync(join(session.daemon.sharedDir, 'file'), Buffer.alloc(16384, 'x'))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDONLY | flags)
  const log = newLog()
  expect(startLogging(session, log)).toBe(0n)
  log.take()
  const into = Array.from({ length: 4 }, () => ({ gpa: memory.allocate(4096), length: 4096 }))
  client.read(nodeid, fh, 0, 16384, into)
  // The other queues' threads and the end of this request may still be writing to their rings.
  stopDevice(session)
  const pages = log.take()
  for (const { gpa } of into) expect(pages).toContain(pageOf(gpa))
  const used = session.queues[1]?.gpa.used ?? 0
  expect(pages).toContain(pageOf(used))
  expect(memory.bytes(into[3]?.gpa ?? 0, 1)[0]).toBe('x'.charCodeAt(0))
})

test('has the replies of both planes, and nothing that was only read', async () => {
  const session = await startSession({})
  const { client, memory } = session
  const { fh, entry } = client.create(ROOT_ID, 'file', O_RDWR)
  const log = newLog()
  startLogging(session, log)
  client.getattr(ROOT_ID)
  log.take()
  const data = { gpa: memory.allocate(4096), length: 4096 }
  client.write(entry.nodeid, fh, 0, [data])
  stopDevice(session)
  const native = log.take()
  expect(native.length).toBeGreaterThan(1)
  expect(native).not.toContain(pageOf(data.gpa))
})

test('is left alone while logging is off, and after another has taken its place', async () => {
  const session = await startSession({})
  const [first, second] = [newLog(), newLog(4096)]
  expect(setLogBase(session.frontend, first)).toBe(0n)
  session.client.getattr(ROOT_ID)
  expect(first.take()).toEqual([])
  setLogging(session.frontend, true)
  session.client.getattr(ROOT_ID)
  expect(first.take()).not.toEqual([])
  expect(setLogBase(session.frontend, second)).toBe(0n)
  first.take()
  session.client.getattr(ROOT_ID)
  expect(first.take()).toEqual([])
  expect(second.take()).not.toEqual([])
  setLogging(session.frontend, false)
  second.take()
  session.client.getattr(ROOT_ID)
  expect(second.take()).toEqual([])
})

test('may be taken away: the guest goes on', async () => {
  const session = await startSession({})
  const log = newLog(4096)
  startLogging(session, log)
  ftruncateSync(log.fd, 0)
  expect(session.client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test('has to be as large as the memory, and as it says', async () => {
  const session = await startSession({})
  const { frontend } = session
  expect(() => setLogBase(frontend, newLog(2047))).toThrow(/disconnected|hung up|closed/i)
  await session.daemon.exit()
  expect(session.daemon.log).toContain('SET_LOG_BASE: EINVAL')
})

const ADDON = resolve(import.meta.dirname, '../../native/build/viewfsd.node')
const JOURNAL = resolve(import.meta.dirname, '../../native/virtio/queue_journal.h')

/** Kills once a reply stands in the guest's memory, before it is given back: where that begins, wherever it is inlined. */
function killBeforePush(pid: number): KillAt[] {
  const line = readFileSync(JOURNAL, 'utf8').split('\n').indexOf('  void Push(uint16_t head) {') + 2
  return instructionsOf(ADDON, 'queue_journal.h')
    .filter((one) => one.line === line)
    .map((one) => KillAt.instruction(pid, ADDON, one.offset))
}

test('has what servers that were killed have written, and what the next ones do', async () => {
  const session = await startSession({ args: ['--on-crash=restart'] })
  const { client, daemon, memory } = session
  writeFileSync(join(daemon.sharedDir, 'file'), Buffer.alloc(4096, 'x'))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDONLY)
  const log = newLog()
  startLogging(session, log)
  const read = (): number => {
    log.take()
    const into = { gpa: memory.allocate(4096), length: 4096 }
    client.read(nodeid, fh, 0, 4096, [into])
    return pageOf(into.gpa)
  }
  await killServer(daemon)
  const page = read()
  expect(log.take()).toContain(page)
  const server = serverBelow(daemon.pid) ?? -1
  const kills = killBeforePush(server)
  const next = read()
  for (const kill of kills) kill.close()
  expect(serverBelow(daemon.pid)).not.toBe(server)
  expect(log.take()).toContain(next)
  setLogging(session.frontend, false)
  log.take()
  await killServer(daemon)
  read()
  expect(log.take()).toEqual([])
})
