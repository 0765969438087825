// SPDX-License-Identifier: Apache-2.0
/** A request that hangs in the host's file system: who else must not wait for it, and how its queue is stopped. */
import { appendFileSync, constants, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { FuseTransport, PendingRequest } from './harness/fuse-transport.ts'
import { connectFrontend, type Session, startDevice, startSession } from './harness/session.ts'
import { packVringState, Request } from './harness/vhost-user.ts'
import { cString, pack } from './harness/wire.ts'
import type { Misbehaviour, Operation } from './misbehaving-fs.ts'

interface Stalled extends Session {
  readonly rule: Misbehaviour
  readonly read: PendingRequest
}

/** A READ on queue 1 that has reached the disk and hangs there. */
async function startStalled(args: readonly string[] = []): Promise<Stalled> {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'slow'), 'slow')
  const session = await startSession({ sharedDir: disk.mountPoint, queues: 3, args })
  const { client } = session
  const { nodeid } = client.lookup(ROOT_ID, 'slow')
  const rule = await disk.stall('read', { path: '/slow', times: 1 })
  const fh = client.open(nodeid, constants.O_RDONLY)
  const read = client.startRead(nodeid, fh, 0, 4096)
  await rule.hit()
  return { ...session, rule, read }
}

function getattrOn(session: Session, index: number): number {
  const queue = session.queues[index]
  if (queue === undefined) {
    throw new Error(`no queue ${index}`)
  }
  return session.transport.call(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { queue, replyBytes: 104 }).length
}

test('a stalled request holds up no other queue', async () => {
  const session = await startStalled()
  const { client, read, rule, transport } = session
  for (let i = 0; i < 100; i++) {
    expect(getattrOn(session, 2)).toBe(104)
  }
  expect(read.done).toBe(false)
  await rule.end()
  transport.wait(read)
  expect(Buffer.from(read.body).toString()).toBe('slow')
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

/** What a request does to the disk that hangs, and the request. */
const SLOW: Record<string, [Operation, (session: Session, nodeid: bigint, fh: bigint) => PendingRequest]> = {
  LOOKUP: ['getattr', ({ transport }) => enqueue(transport, Opcode.LOOKUP, ROOT_ID, cString('other'), 128)],
  GETATTR: ['getattr', ({ transport }, nodeid) => enqueue(transport, Opcode.GETATTR, nodeid, new Uint8Array(16), 104)],
  OPEN: ['open', ({ transport }, nodeid) => enqueue(transport, Opcode.OPEN, nodeid, pack(['u32', 0], ['u32', 0]), 16)],
  SETATTR: [
    'chmod',
    ({ transport }, nodeid) => {
      const mode = pack(['u32', 1], ['u32', 0], new Uint8Array(60), ['u32', 0o600], new Uint8Array(16))
      return enqueue(transport, Opcode.SETATTR, nodeid, mode, 104)
    },
  ],
  READ: [
    'read',
    ({ transport }, nodeid, fh) =>
      transport.enqueue(Opcode.READ, nodeid, pack(['u64', fh], ['u64', 0], ['u32', 4096], new Uint8Array(20)), {
        dataRoom: 4096,
      }),
  ],
  WRITE: [
    'write',
    ({ transport }, nodeid, fh) =>
      transport.enqueue(Opcode.WRITE, nodeid, pack(['u64', fh], ['u64', 0], ['u32', 4], new Uint8Array(20)), {
        data: Buffer.from('data'),
        replyBytes: 8,
      }),
  ],
  FLUSH: [
    'flush',
    ({ transport }, nodeid, fh) => enqueue(transport, Opcode.FLUSH, nodeid, pack(['u64', fh], new Uint8Array(16)), 0),
  ],
  RELEASE: [
    'flush',
    ({ transport }, nodeid, fh) => enqueue(transport, Opcode.RELEASE, nodeid, pack(['u64', fh], new Uint8Array(16)), 0),
  ],
}

function enqueue(transport: FuseTransport, opcode: number, nodeid: bigint, args: Uint8Array, replyBytes: number) {
  return transport.enqueue(opcode, nodeid, args, { replyBytes })
}

test.each(Object.entries(SLOW))(
  'finished replies do not wait for a %s behind them',
  async (name, [operation, send]) => {
    const disk = await mountBadDisk()
    writeFileSync(join(disk.backing, 'slow'), 'slow')
    writeFileSync(join(disk.backing, 'other'), 'other')
    const session = await startSession({ sharedDir: disk.mountPoint, queues: 3 })
    const { client, hiprio, queues, transport } = session
    const { nodeid } = client.lookup(ROOT_ID, 'slow')
    const fh = client.open(nodeid, constants.O_RDWR)
    // The host's kernel forgets what it knew of the file.
    if (name !== 'OPEN') appendFileSync(disk.at('slow'), 'er')
    const rule = await disk.stall(operation, { times: 1 })
    const queue = queues[1] ?? hiprio
    const before = queue.availableIndex
    // One, and it is the first: whoever is told of any reply finds all of them.
    const finished = transport.enqueue(Opcode.ACCESS, ROOT_ID, new Uint8Array(8), {})
    const slow = send(session, nodeid, fh)
    queue.kick(before)
    await rule.hit()
    transport.waitFor(() => finished.done, 'the finished reply')
    // The guest has its answer to RELEASE before the file is closed.
    if (name === 'RELEASE') transport.waitFor(() => slow.done, 'RELEASE')
    expect(slow.done).toBe(name === 'RELEASE')
    await rule.end()
    transport.wait(slow)
  },
)

test('a request that is stuck is named in the log, and again when it ends', async () => {
  const session = await startStalled()
  const { daemon, read, rule, transport } = session
  const lines = (): unknown[] =>
    daemon.records.filter(
      (record) => JSON.stringify(record).includes('stuck') && JSON.stringify(record).includes('READ'),
    )
  await daemon.until(() => lines().length === 1, 'the line')
  expect(lines()).toMatchObject([{ opcode: 'READ', nodeid: expect.any(Number), since: expect.any(String) }])
  await rule.end()
  transport.wait(read)
  await daemon.until(() => lines().length === 2, 'the second line')
  expect(lines()[1]).toMatchObject({ opcode: 'READ', msg: 'a request that was stuck has ended' })
})

test('GET_VRING_BASE loses no request in flight', async () => {
  const session = await startStalled()
  const { frontend, queues, read, rule, transport } = session
  // Behind the stalled one in the same queue.
  const behind = transport.submit(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { replyBytes: 104 })
  frontend.sendAcked(Request.SET_VRING_ENABLE, packVringState(1, 0))
  frontend.send(Request.GET_VRING_BASE, packVringState(1, 0))
  // The other queue is served meanwhile.
  expect(getattrOn(session, 2)).toBe(104)
  await rule.end()
  const reply = frontend.socket.receive(60_000)
  expect(reply?.request).toBe(Request.GET_VRING_BASE)
  const base = new DataView(reply?.payload.buffer ?? new ArrayBuffer(8)).getUint32(4, true)
  const queue = queues[1]
  // Whatever was taken from the ring is completed, and nothing else is.
  expect(queue?.usedIndex()).toBe(base)
  if (queue !== undefined) {
    frontend.startVring(queue, base)
  }
  frontend.sendAcked(Request.SET_VRING_ENABLE, packVringState(1, 1))
  transport.wait(read)
  transport.wait(behind)
  expect(Buffer.from(read.body).toString()).toBe('slow')
})

test('exits although a request is stalled: on disconnect', async () => {
  const { daemon, frontend } = await startStalled()
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test('exits although a request is stalled: on disconnect, with the queue to be stopped', async () => {
  const { daemon, frontend } = await startStalled()
  frontend.send(Request.GET_VRING_BASE, packVringState(1, 0))
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test('exits although a request is stalled: on SIGTERM', async () => {
  const { daemon } = await startStalled()
  daemon.signal('SIGTERM')
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test.each(['a stalled request', 'a queue that it was stopping'])(
  'serves the next frontend after one that left %s behind',
  async (what) => {
    const { daemon, frontend, rule } = await startStalled(['--keep-listening'])
    if (what !== 'a stalled request') frontend.send(Request.GET_VRING_BASE, packVringState(1, 0))
    frontend.close()
    await rule.end()
    const next = startDevice(daemon, await connectFrontend(daemon))
    expect(next.client.lookup(ROOT_ID, 'slow').attr.size).toBe(4)
  },
)
