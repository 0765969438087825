// SPDX-License-Identifier: Apache-2.0
/** Requests that wait for the host: on threads of the pool, so that nothing else on their queue waits behind them. */
import { constants, readFileSync, writeFileSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { type Session, startSession } from './harness/session.ts'
import { packMemoryTable, Request } from './harness/vhost-user.ts'
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

/** Requests that must come after a WRITE to the same file. */
const BEHIND: Record<string, (session: Disk) => PendingRequest> = {
  WRITE: ({ client, nodeid, fh }) => client.startWrite(nodeid, fh, 0, Buffer.from('2nd')),
  'appending WRITE': ({ client, nodeid, fh }) =>
    client.startWrite(nodeid, fh, 0, Buffer.from('2nd'), { open: constants.O_APPEND }),
  FSYNC: ({ transport, nodeid, fh }) => transport.submit(Opcode.FSYNC, nodeid, pack(['u64', fh], new Uint8Array(8))),
  FLUSH: ({ transport, nodeid, fh }) => transport.submit(Opcode.FLUSH, nodeid, pack(['u64', fh], new Uint8Array(16))),
  RELEASE: ({ transport, nodeid, fh }) =>
    transport.submit(Opcode.RELEASE, nodeid, pack(['u64', fh], new Uint8Array(16))),
}

test.each(Object.entries(BEHIND))('a %s never overtakes a WRITE to the same file', async (name, send) => {
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
  const content = { WRITE: '2ndst', 'appending WRITE': 'first2nd' }[name] ?? 'first'
  expect(readFileSync(join(disk.backing, 'slow'), 'utf8')).toBe(content)
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

test('a request under way writes to the memory in which it was sent', async () => {
  const session = await startOnDisk()
  const { client, frontend, memory, transport } = session
  const { rule, read } = await stallRead(session)
  // The same memory at other addresses of this process: the daemon maps it anew.
  for (let i = 0; i < 3; i++) {
    frontend.sendAcked(
      Request.SET_MEM_TABLE,
      packMemoryTable(memory.regions),
      memory.regions.map((region) => region.fd),
    )
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  }
  await rule.end()
  expect(text(transport.wait(read))).toBe('slow')
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
