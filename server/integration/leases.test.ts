// SPDX-License-Identifier: Apache-2.0
/**
 * Files that another program on the host holds a lease on. The kernel lets an open wait until the holder gives it up, for
 * /proc/sys/fs/lease-break-time at most; the queue must not wait with it.
 */
import { constants, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ENTRY_OUT_BYTES, Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { HostLease } from './harness/host-lease.ts'
import { outcome, type Session, startSession } from './harness/session.ts'
import { makeFile, RANGE, READ, readCounters, startWindowSession } from './harness/window-session.ts'
import { cString, pack } from './harness/wire.ts'

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants
const EAGAIN = 11
const EINTR = 4
const FATTR_SIZE = 8
const GETLK = 31
const SETLK = 32
const SETLKW = 33
const F_RDLCK = 0

interface Leased extends Session {
  readonly nodeid: bigint
  readonly path: string
  readonly lease: HostLease
}

async function startLeased(kind: 'read' | 'write' = 'write', args: readonly string[] = []): Promise<Leased> {
  const session = await startSession({ args })
  const path = join(session.daemon.sharedDir, 'leased')
  writeFileSync(path, 'content')
  const { nodeid } = session.client.lookup(ROOT_ID, 'leased')
  return { ...session, nodeid, path, lease: await HostLease.take(path, kind) }
}

function open({ transport, nodeid }: Leased, flags: number): PendingRequest {
  return transport.submit(Opcode.OPEN, nodeid, pack(['u32', flags], ['u32', 0]), { replyBytes: 16 })
}

/** What has to open the file, and what the file is then. */
const OPENS: Record<string, [(session: Leased) => PendingRequest, string]> = {
  OPEN: [(session) => open(session, O_RDONLY), 'content'],
  'OPEN with O_TRUNC': [(session) => open(session, O_WRONLY | O_TRUNC), ''],
  'CREATE of a file that is there': [
    ({ transport }) => {
      const args = pack(['u32', O_RDWR], ['u32', 0o644], ['u32', 0o22], ['u32', 0], cString('leased'))
      return transport.submit(Opcode.CREATE, ROOT_ID, args, { replyBytes: ENTRY_OUT_BYTES + 16 })
    },
    'content',
  ],
  'SETATTR of the size': [
    ({ transport, nodeid }) => {
      const args = pack(['u32', FATTR_SIZE], ['u32', 0], ['u64', 0n], ['u64', 3n], new Uint8Array(64))
      return transport.submit(Opcode.SETATTR, nodeid, args, { replyBytes: 104 })
    },
    'con',
  ],
}

test.each(Object.entries(OPENS))('%s waits for the lease, and nobody waits for it', async (_what, [send, content]) => {
  const session = await startLeased()
  const { client, lease, nodeid, path, transport } = session
  const broken = lease.broken()
  const opening = send(session)
  await broken
  // On the same queue.
  for (let index = 0; index < 20; index++) {
    expect(client.getattr(nodeid).size).toBe(7)
    expect(client.lookup(ROOT_ID, 'leased').nodeid).toBe(nodeid)
  }
  expect(opening.done).toBe(false)
  await lease.giveUp()
  transport.wait(opening)
  expect(opening.body.length).toBe(opening.usedLength - 16)
  expect(readFileSync(path, 'latin1')).toBe(content)
})

test('the handle is one like any other', async () => {
  const session = await startLeased()
  const { client, lease, nodeid, transport } = session
  const broken = lease.broken()
  const opening = open(session, O_RDWR)
  await broken
  await lease.giveUp()
  const body = transport.wait(opening)
  const fh = new DataView(body.buffer, body.byteOffset).getBigUint64(0, true)
  expect(Buffer.from(client.read(nodeid, fh, 0, 100)).toString()).toBe('content')
  client.release(nodeid, fh)
})

test('a lock, which opens the file for writing, waits for the lease of who only reads it', async () => {
  const session = await startLeased('read', ['--posix-locks'])
  const { client, lease, nodeid, transport } = session
  const fh = client.open(nodeid, O_RDONLY)
  const ask = (opcode: number, owner: bigint): PendingRequest => {
    const range = pack(['u64', fh], ['u64', owner], ['u64', 0n], ['u64', 99n], ['u32', F_RDLCK], new Uint8Array(12))
    return transport.submit(opcode, nodeid, range, { replyBytes: opcode === GETLK ? 24 : 0 })
  }
  const broken = lease.broken()
  const waiting = [ask(SETLKW, 1n), ask(GETLK, 2n)]
  await broken
  expect(outcome(() => transport.wait(ask(SETLK, 3n)))).toBe('EAGAIN')
  expect(client.getattr(nodeid).size).toBe(7)
  expect(waiting.map(({ done }) => done)).toEqual([false, false])
  await lease.giveUp()
  for (const request of waiting) transport.wait(request)
})

test('a mapping waits for the lease, and nobody waits for it', async () => {
  const session = await startWindowSession()
  const { client, daemon, transport } = session
  const nodeid = makeFile(session, 'leased', RANGE)
  const lease = await HostLease.take(join(daemon.sharedDir, 'leased'), 'write')
  const broken = lease.broken()
  const mapping = client.startSetupMapping(nodeid, 0, RANGE, READ, 0)
  await broken
  expect(client.getattr(nodeid).size).toBe(RANGE)
  expect(mapping.done).toBe(false)
  await lease.giveUp()
  transport.wait(mapping)
  expect((await readCounters(session)).live).toBe(1)
})

test('who waits for long is named in the log, and again when the waiting ends', async () => {
  const session = await startLeased()
  const { daemon, lease, nodeid, transport } = session
  const lines = (): unknown[] => daemon.records.filter((record) => JSON.stringify(record).includes('stuck'))
  const opening = open(session, O_RDONLY)
  await daemon.until(() => lines().length === 1, 'the line')
  expect(lines()).toMatchObject([{ opcode: 'OPEN', nodeid: Number(nodeid), worker: 0, since: expect.any(String) }])
  await lease.giveUp()
  transport.wait(opening)
  await daemon.until(() => lines().length === 2, 'the second line')
  expect(lines()[1]).toMatchObject({ opcode: 'OPEN', msg: 'a request that was stuck has ended' })
})

test('who opens with O_NONBLOCK is told', async () => {
  const session = await startLeased()
  expect(outcome(() => session.client.open(session.nodeid, O_RDONLY | O_NONBLOCK))).toBe('EAGAIN')
})

test('INTERRUPT ends the waiting', async () => {
  const session = await startLeased()
  const { lease, transport } = session
  const broken = lease.broken()
  const opening = open(session, O_RDONLY)
  await broken
  transport.submit(Opcode.INTERRUPT, 0n, pack(['u64', opening.unique]), { noReply: true })
  transport.waitFor(() => opening.done, 'the interrupted request')
  expect(opening.error).toBe(-EINTR)
})

test('the stop of the queue ends the waiting', async () => {
  const session = await startLeased()
  const { frontend, lease, transport } = session
  const broken = lease.broken()
  const opening = open(session, O_RDONLY)
  await broken
  frontend.stop()
  transport.waitFor(() => opening.done, 'the request of the stopped queue')
  expect(opening.error).toBe(-EAGAIN)
})
