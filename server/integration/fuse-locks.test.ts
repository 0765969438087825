// SPDX-License-Identifier: Apache-2.0
/** Remote locks through a device: waiting holds nobody up, and ends with an unlock, an INTERRUPT or the queue's stop. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { outcome, type Session, startSession } from './harness/session.ts'
import { pack } from './harness/wire.ts'

const SETLK = 32
const SETLKW = 33
const INTERRUPT = 36
const EINTR = 4
const EAGAIN = 11
const WRITE = 1
const UNLOCK = 2

async function openSession(): Promise<{
  session: Session
  lock: (opcode: number, owner: number, type: number) => PendingRequest
}> {
  const session = await startSession({ args: ['--posix-locks', '--flocks'] })
  writeFileSync(join(session.daemon.sharedDir, 'file'), '')
  const { nodeid } = session.client.lookup(ROOT_ID, 'file')
  const fh = session.client.open(nodeid, 2)
  const lock = (opcode: number, owner: number, type: number): PendingRequest =>
    session.transport.submit(
      opcode,
      nodeid,
      pack(
        ['u64', fh],
        ['u64', BigInt(owner)],
        ['u64', 0n],
        ['u64', 0x7fff_ffff_ffff_ffffn],
        ['u32', type],
        ['u32', 1],
        ['u32', 0],
        ['u32', 0],
      ),
    )
  return { session, lock }
}

test('a SETLKW that waits lets its queue go on, and gets the lock when it is free', async () => {
  const { session, lock } = await openSession()
  session.transport.wait(lock(SETLK, 1, WRITE))
  const waiting = [lock(SETLKW, 2, WRITE), lock(SETLKW, 3, WRITE)]
  for (let index = 0; index < 20; index++) session.client.getattr(ROOT_ID)
  expect(waiting.map(({ done }) => done)).toEqual([false, false])
  session.transport.wait(lock(SETLK, 1, UNLOCK))
  session.transport.waitFor(() => waiting.some(({ done }) => done), 'the lock')
  expect(waiting.map(({ done }) => done)).toEqual([true, false])
  expect(waiting[0]?.error).toBe(0)
  session.transport.wait(lock(SETLK, 2, UNLOCK))
  session.transport.waitFor(() => waiting.every(({ done }) => done), 'the second lock')
  expect(waiting[1]?.error).toBe(0)
})

test('INTERRUPT ends the one that it names', async () => {
  const { session, lock } = await openSession()
  session.transport.wait(lock(SETLK, 1, WRITE))
  const waiting = lock(SETLKW, 2, WRITE)
  const other = lock(SETLKW, 3, WRITE)
  session.transport.submit(INTERRUPT, 0n, pack(['u64', waiting.unique]), { noReply: true })
  session.transport.waitFor(() => waiting.done, 'the interrupted request')
  expect(waiting.error).toBe(-EINTR)
  expect(other.done).toBe(false)
})

test('the stop of the queue ends them all', async () => {
  const { session, lock } = await openSession()
  session.transport.wait(lock(SETLK, 1, WRITE))
  const waiting = [lock(SETLKW, 2, WRITE), lock(SETLKW, 3, WRITE)]
  session.client.getattr(ROOT_ID)
  session.frontend.stop()
  session.transport.waitFor(() => waiting.every(({ done }) => done), 'the requests of the stopped queue')
  expect(waiting.map(({ error }) => error)).toEqual([-EAGAIN, -EAGAIN])
})

test('a guest that goes while it waits takes nothing along', async () => {
  const { session, lock } = await openSession()
  session.transport.wait(lock(SETLK, 1, WRITE))
  lock(SETLKW, 2, WRITE)
  session.client.getattr(ROOT_ID)
  session.frontend.close()
  await session.daemon.exit()
  expect(session.daemon.exited).toEqual({ code: 0, signal: null })
})

test('the release of an open file ends the locks that belong to it', async () => {
  const { session, lock } = await openSession()
  const { client, transport } = session
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, 2)
  const own = pack(['u64', fh], ['u64', 7n], ['u64', 0n], ['u64', 100n], ['u32', WRITE], ['u32', 1], ['u64', 0n])
  transport.wait(transport.submit(SETLK, nodeid, own))
  expect(outcome(() => transport.wait(lock(SETLK, 1, WRITE)))).toBe('EAGAIN')
  // Linux sends no unlock when it closes a file with locks of F_OFD_SETLK.
  client.release(nodeid, fh)
  client.getattr(nodeid)
  transport.wait(lock(SETLK, 1, WRITE))
})
