// SPDX-License-Identifier: Apache-2.0
/** Ranges that a guest may write: they keep nobody on the host from executing a file that the guest has not open for writing. */
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import {
  makeFile,
  RANGE,
  READ,
  readCounters,
  startWindowSession,
  type WindowSession,
  WRITE,
} from './harness/window-session.ts'
import { pack } from './harness/wire.ts'

const O_RDONLY = 0
const O_WRONLY = 1
const O_RDWR = 2

/** A program of two ranges in the shared directory. */
interface Program {
  readonly session: WindowSession
  readonly path: string
  readonly nodeid: bigint
}

async function startWithProgram(queues = 2): Promise<Program> {
  const session = await startWindowSession({
    window: 'memory-view',
    queues,
    // An open after a write through the window would be answered with ESTALE otherwise, so that the guest asks for attributes;
    // and holes would read as zeros.
    args: [`--num-request-queues=${queues - 1}`, '--cache=always', '--fault-policy=sigbus'],
  })
  const path = join(session.daemon.sharedDir, 'program')
  const bytes = Buffer.alloc(2 * RANGE)
  bytes.write('#!/bin/true\n')
  writeFileSync(path, bytes)
  chmodSync(path, 0o755)
  return { session, path, nodeid: session.client.lookup(ROOT_ID, 'program').nodeid }
}

/** `ok`, or the error's code. */
function execute(path: string): string {
  const { error, status } = spawnSync(path)
  if (error === undefined) return status === 0 ? 'ok' : `status ${status}`
  return 'code' in error ? String(error.code) : error.message
}

/** Closing a file is something that the kernel does in its own time. */
async function untilExecutable({ session, path }: Program): Promise<void> {
  await session.daemon.until(() => execute(path) === 'ok', 'the program can be executed')
}

test('a program is busy while the guest has it open for writing, and no longer', async () => {
  const program = await startWithProgram()
  const { session, path, nodeid } = program
  const { client, window } = session
  const writes = (text: string): number => window.write(8192, Buffer.from(text))
  const first = client.open(nodeid, O_RDWR)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  client.setupMapping(nodeid, RANGE, RANGE, READ | WRITE, 4 * RANGE)
  const second = client.open(nodeid, O_WRONLY)
  const reader = client.open(nodeid, O_RDONLY)
  client.release(nodeid, first)
  expect(writes('one')).toBe(3)
  expect(execute(path)).toBe('ETXTBSY')
  client.release(nodeid, second)
  await untilExecutable(program)
  expect([writes('no'), window.write(4 * RANGE, Buffer.from('no'))]).toEqual([0, 0])
  expect(Buffer.from(window.read(8192, 3) ?? []).toString()).toBe('one')

  // Writable again before the guest learns that it may write.
  const third = client.open(nodeid, O_WRONLY)
  expect([writes('two'), window.write(4 * RANGE, Buffer.from('two'))]).toEqual([3, 3])
  expect(execute(path)).toBe('ETXTBSY')
  client.release(nodeid, third)
  await untilExecutable(program)
  const { fh } = client.create(ROOT_ID, 'program', O_RDWR)
  expect(writes('three')).toBe(5)
  client.release(nodeid, fh)
  await untilExecutable(program)
  client.release(nodeid, reader)
  expect((await readCounters(session)).live).toBe(2)
})

test('what is unmapped or shows another file is left alone', async () => {
  const program = await startWithProgram()
  const { session, nodeid } = program
  const { client, window } = session
  const other = makeFile(session, 'other', RANGE, 7)
  const writer = client.open(nodeid, O_RDWR)
  for (const moffset of [0, RANGE, 2 * RANGE, 3 * RANGE]) client.setupMapping(nodeid, 0, RANGE, READ | WRITE, moffset)
  client.removeMapping(nodeid, [{ moffset: 0, length: RANGE }])
  client.setupMapping(other, 0, RANGE, READ, RANGE)
  client.release(nodeid, writer)
  await untilExecutable(program)
  client.removeMapping(nodeid, [{ moffset: 2 * RANGE, length: RANGE / 2 }])
  const shown = window.read(RANGE, 4096)

  client.open(nodeid, O_RDWR)
  expect(window.read(0, 8)).toBeUndefined()
  expect(window.read(RANGE, 4096)).toEqual(shown)
  expect(window.read(2 * RANGE, 8)).toBeUndefined()
  expect(window.write(RANGE, Buffer.from('no'))).toBe(0)
  expect(window.write(3 * RANGE, Buffer.from('yes'))).toBe(3)
  // The next guest begins with an empty window.
  client.init(session.initReply?.flags)
  expect(window.read(3 * RANGE, 8)).toBeUndefined()
})

test('opening, closing, mapping and unmapping at once', async () => {
  const program = await startWithProgram(3)
  const { session, path, nodeid } = program
  const { client, window, transport, queues } = session
  const [, here, there] = queues
  if (here === undefined || there === undefined) throw new Error('too few queues')
  const open = (): PendingRequest =>
    transport.submit(Opcode.OPEN, nodeid, pack(['u32', O_RDWR], ['u32', 0]), { queue: here, replyBytes: 16 })
  const release = (fh: bigint): PendingRequest =>
    transport.submit(Opcode.RELEASE, nodeid, pack(['u64', fh], ['u64', 0], ['u64', 0]), { queue: there })
  const remove = (): PendingRequest =>
    transport.submit(Opcode.REMOVEMAPPING, nodeid, pack(['u32', 1], ['u64', RANGE], ['u64', RANGE]), { queue: there })
  let fh = client.open(nodeid, O_RDWR)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  for (let round = 0; round < 100; round++) {
    client.setupMapping(nodeid, RANGE, RANGE, READ | WRITE, RANGE)
    // A file that nobody has open at one moment, or that always somebody has.
    const opened = round % 2 === 0 ? open() : undefined
    const pending = [release(fh), remove()]
    const reply = transport.wait(opened ?? open())
    fh = new DataView(reply.buffer, reply.byteOffset).getBigUint64(0, true)
    for (const request of pending) transport.wait(request)
    expect([round, window.write(8192, Buffer.from('here'))]).toEqual([round, 4])
    expect([round, window.read(RANGE, 8)]).toEqual([round, undefined])
  }
  expect(execute(path)).toBe('ETXTBSY')
  client.release(nodeid, fh)
  await untilExecutable(program)
  expect(window.write(8192, Buffer.from('here'))).toBe(0)
})
