// SPDX-License-Identifier: Apache-2.0
/** Requests that wait for the host: on threads of the pool, so that nothing else on their queue waits behind them. */
import { constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { type Session, startSession } from './harness/session.ts'
import { packVringState, Request } from './harness/vhost-user.ts'
import { readCounters } from './harness/window-session.ts'
import { pack } from './harness/wire.ts'
import type { Misbehaviour, MisbehavingFs } from './misbehaving-fs.ts'

interface Disk extends Session {
  readonly disk: MisbehavingFs
  readonly nodeid: bigint
  readonly fh: bigint
}

/** A session over a disk with the files 'slow', open for reading and writing, and 'other'. */
async function startOnDisk(args: readonly string[] = [], queues = 2): Promise<Disk> {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'slow'), 'slow')
  writeFileSync(join(disk.backing, 'other'), 'other')
  const session = await startSession({ sharedDir: disk.mountPoint, args, queues })
  const { nodeid } = session.client.lookup(ROOT_ID, 'slow')
  const fh = session.client.open(nodeid, constants.O_RDWR)
  return { ...session, disk, nodeid, fh }
}

/** Calls of read(2) and its like that a process and its children have made: proc_pid_io(5). */
function readCalls(pid: number): number {
  const calls = Number(/^syscr: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return children === '' ? calls : children.split(' ').reduce((sum, child) => sum + readCalls(Number(child)), calls)
}

/** A READ that has reached the disk and hangs there. */
async function stallRead({ disk, client, nodeid, fh }: Disk): Promise<{ rule: Misbehaviour; read: PendingRequest }> {
  const rule = await disk.stall('read', { path: '/slow', times: 1 })
  const read = client.startRead(nodeid, fh, 0, 4096)
  await rule.hit()
  return { rule, read }
}

function text(body: Uint8Array): string {
  return Buffer.from(body).toString()
}

test('a READ that hangs holds up no other request of its queue', async () => {
  const session = await startOnDisk()
  const { client, transport } = session
  const { rule, read } = await stallRead(session)
  for (let i = 0; i < 20; i++) {
    const other = client.lookup(ROOT_ID, 'other')
    expect(client.getattr(other.nodeid).size).toBe(5)
    const handle = client.open(other.nodeid, constants.O_RDONLY)
    expect(text(client.read(other.nodeid, handle, 0, 100))).toBe('other')
    client.release(other.nodeid, handle)
  }
  expect(read.done).toBe(false)
  await rule.end()
  expect(text(transport.wait(read))).toBe('slow')
})

test('requests of other kinds that hang hold up nothing, either', async () => {
  const session = await startOnDisk()
  const { client, disk, nodeid, fh, transport } = session
  const args = pack(['u64', fh], new Uint8Array(16))
  for (const [operation, opcode] of [
    ['fsync', Opcode.FSYNC],
    ['flush', Opcode.FLUSH],
  ] as const) {
    const rule = await disk.stall(operation, { times: 1 })
    const slow = transport.submit(opcode, nodeid, args)
    await rule.hit()
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
    expect(text(client.read(nodeid, fh, 0, 100))).toBe('slow')
    expect(slow.done).toBe(false)
    await rule.end()
    transport.wait(slow)
  }
})

test('with --thread-pool-size=0 a request that hangs holds up its queue', async () => {
  const session = await startOnDisk(['--thread-pool-size=0'], 3)
  const { queues, transport } = session
  const { rule, read } = await stallRead(session)
  const behind = transport.submit(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { replyBytes: 104 })
  // The other queue has a thread of its own.
  const queue = queues[2] ?? session.hiprio
  for (let i = 0; i < 20; i++) transport.call(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { replyBytes: 104, queue })
  expect(behind.done).toBe(false)
  await rule.end()
  transport.wait(behind)
  expect(text(transport.wait(read))).toBe('slow')
})

/** Requests that must come after a WRITE to the same file. (FSYNC waits for its lock in this file system, too.) */
const BEHIND: Record<string, (session: Disk) => PendingRequest> = {
  FLUSH: ({ transport, nodeid, fh }) => transport.submit(Opcode.FLUSH, nodeid, pack(['u64', fh], new Uint8Array(16))),
  RELEASE: ({ transport, nodeid, fh }) =>
    transport.submit(Opcode.RELEASE, nodeid, pack(['u64', fh], new Uint8Array(16))),
}

test.each(Object.entries(BEHIND))('a %s never overtakes a WRITE to the same file', async (_name, send) => {
  const session = await startOnDisk()
  const { client, disk, nodeid, fh, transport } = session
  const rule = await disk.stall('write', { path: '/slow', times: 1 })
  const write = client.startWrite(nodeid, fh, 0, Buffer.from('first'))
  await rule.hit()
  const behind = send(session)
  // Whatever may overtake does.
  for (let i = 0; i < 20; i++) expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  expect([write.done, behind.done]).toEqual([false, false])
  await rule.end()
  transport.wait(behind)
  expect(write.done).toBe(true)
  expect(readFileSync(join(disk.backing, 'slow'), 'utf8')).toBe('first')
})

test.each(Object.entries(BEHIND))('a %s waits for WRITEs alone, and holds up none', async (_name, send) => {
  const session = await startOnDisk()
  const { client, disk, nodeid, fh, transport } = session
  const rule = await disk.stall('flush', { times: 1 })
  const flush = transport.submit(Opcode.FLUSH, nodeid, pack(['u64', fh], new Uint8Array(16)))
  await rule.hit()
  expect(client.write(nodeid, fh, 0, Buffer.from('first'))).toBe(5)
  transport.wait(send(session))
  expect(flush.done).toBe(false)
  expect(readFileSync(join(disk.backing, 'slow'), 'utf8')).toBe('first')
  await rule.end()
  transport.wait(flush)
})

test('several WRITEs and what must come after each', async () => {
  const session = await startOnDisk()
  const { client, disk, nodeid, fh, transport } = session
  const rule = await disk.stall('write', { path: '/slow', times: 1 })
  const ends: string[] = []
  const pending = Array.from({ length: 8 }, (_, i) => {
    const data = Buffer.from(`${i},`)
    const write = client.startWrite(nodeid, fh, 2 * i, data)
    return [write, transport.submit(Opcode.FLUSH, nodeid, pack(['u64', fh], new Uint8Array(16)))] as const
  })
  await rule.hit()
  expect(pending.flat().some(({ done }) => done)).toBe(false)
  await rule.end()
  for (const [i, [write, flush]] of pending.entries()) {
    transport.wait(flush)
    expect(write.done).toBe(true)
    ends.push(`${i},`)
    expect(readFileSync(join(disk.backing, 'slow'), 'utf8').startsWith(ends.join(''))).toBe(true)
  }
})

test('FSYNC goes to no thread where there is no disk', async () => {
  const directory = mkdtempSync('/dev/shm/viewfsd-')
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'file'), '')
  const session = await startSession({ sharedDir: directory })
  const { client, transport } = session
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, constants.O_RDWR)
  const before = await readCounters(session)
  transport.call(Opcode.FSYNC, nodeid, pack(['u64', fh], ['u64', 0]))
  expect((await readCounters(session)).pooled).toBe(before.pooled)
  transport.call(Opcode.FALLOCATE, nodeid, pack(['u64', fh], ['u64', 0], ['u64', 4096], ['u64', 0]))
  expect((await readCounters(session)).pooled).toBe(before.pooled + 1)
})

test('appending WRITEs stay in the order in which they were sent', async () => {
  const session = await startOnDisk()
  const { client, disk, nodeid, fh, transport } = session
  const rule = await disk.stall('write', { path: '/slow', times: 1 })
  const words = Array.from({ length: 40 }, (_, i) => `${i},`)
  const writes = words.map((word) => client.startWrite(nodeid, fh, 0, Buffer.from(word), { open: constants.O_APPEND }))
  await rule.hit()
  await rule.end()
  for (const write of writes) transport.wait(write)
  expect(readFileSync(join(disk.backing, 'slow'), 'utf8')).toBe(`slow${words.join('')}`)
})

test('INTERRUPT ends a request that waits for a thread', async () => {
  const session = await startOnDisk(['--thread-pool-size=1'])
  const { client, nodeid, fh, transport } = session
  const { rule, read } = await stallRead(session)
  const waiting = client.startRead(nodeid, fh, 0, 100)
  const another = client.startRead(nodeid, fh, 0, 100)
  transport.submit(Opcode.INTERRUPT, 0n, pack(['u64', waiting.unique]), { noReply: true })
  transport.waitFor(() => waiting.done, 'the interrupted READ')
  expect(waiting.error).toBe(-osConstants.errno.EINTR)
  expect([read.done, another.done]).toEqual([false, false])
  await rule.end()
  expect(text(transport.wait(read))).toBe('slow')
  expect(text(transport.wait(another))).toBe('slow')
})

test('more requests may hang than there are threads', async () => {
  const session = await startOnDisk(['--thread-pool-size=2'])
  const { client, disk, nodeid, fh, transport } = session
  const rule = await disk.stall('read', { path: '/slow' })
  const reads = Array.from({ length: 30 }, () => client.startRead(nodeid, fh, 0, 100))
  await rule.hit()
  expect(reads.some((read) => read.done)).toBe(false)
  await rule.end()
  for (const read of reads) expect(text(transport.wait(read))).toBe('slow')
})

test('a ring that has lied is given back when nothing writes to its buffers any more', async () => {
  const session = await startOnDisk([], 3)
  const { daemon, frontend, queues, transport } = session
  const { rule } = await stallRead(session)
  const [, lying, honest] = queues
  if (lying === undefined || honest === undefined) throw new Error('no queues')
  lying.setAvailableIndex(lying.availableIndex + 5000)
  lying.kick(lying.availableIndex, true)
  await daemon.until(() => daemon.log.includes('a ring is broken'), 'the end of the ring')
  frontend.send(Request.GET_VRING_BASE, packVringState(1, 0))
  for (let i = 0; i < 20; i++)
    transport.call(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { replyBytes: 104, queue: honest })
  expect(frontend.socket.receive(0)).toBe(undefined)
  await rule.end()
  expect(frontend.socket.receive(60_000)?.request).toBe(Request.GET_VRING_BASE)
})

test('a file is asked once whether it can be read without waiting', async () => {
  const directory = mkdtempSync('/dev/shm/viewfsd-')
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'file'), Buffer.alloc(4096))
  const session = await startSession({ sharedDir: directory })
  const { client, daemon, transport } = session
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, constants.O_RDONLY)
  const args = pack(['u64', fh], ['u64', 0], ['u32', 100], new Uint8Array(20))
  const before = readCalls(daemon.pid)
  const count = 20 * 32
  for (let sent = 0; sent < count; sent += 32) {
    const index = transport.requestQueue.availableIndex
    const reads = Array.from({ length: 32 }, () => transport.enqueue(Opcode.READ, nodeid, args, { dataRoom: 100 }))
    transport.requestQueue.kick(index)
    for (const read of reads) transport.wait(read)
  }
  // A read that is refused counts as one; other threads make a few.
  expect(readCalls(daemon.pid) - before).toBeLessThan(count * 1.5)
})

test.each(['namespace', 'chroot', 'none'])(
  'with --sandbox=%s the kernel reads from the disk by itself',
  async (sandbox) => {
    const session = await startSession({ args: ['--allow-direct-io', `--sandbox=${sandbox}`], queueSize: 1024 })
    const { client, daemon, transport } = session
    const page = 4096
    const count = 300
    const contents = Buffer.alloc(count * page, 0).map((_, i) => (i / page) * 7 + i)
    writeFileSync(join(daemon.sharedDir, 'file'), contents, { flush: true })
    const { nodeid } = client.lookup(ROOT_ID, 'file')
    const fh = client.open(nodeid, constants.O_RDONLY | constants.O_DIRECT)
    const start = (i: number): PendingRequest => {
      const args = pack(
        ['u64', fh],
        ['u64', i * page],
        ['u32', page],
        new Uint8Array(12),
        ['u32', constants.O_DIRECT],
        ['u32', 0],
      )
      return transport.enqueue(Opcode.READ, nodeid, args, { dataRoom: page })
    }
    const index = transport.requestQueue.availableIndex
    const reads = Array.from({ length: count }, (_, i) => start(i))
    transport.requestQueue.kick(index)
    for (const [i, read] of reads.entries())
      expect(transport.wait(read), String(i)).toEqual(contents.subarray(i * page, (i + 1) * page))
    const { asyncReads, pooled } = await readCounters(session)
    // What it has no room for goes to the pool.
    expect(asyncReads).toBeGreaterThan(200)
    expect(asyncReads + pooled).toBe(count)
  },
)
