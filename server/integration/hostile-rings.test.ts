// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that lies in its rings: the queue stops and says so by its error eventfd, the daemon and the other queues live,
 * and the stopped queue works again once the frontend has started it anew.
 */
import { expect, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { FuseClient } from './harness/fuse-client.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { type Session, startSession } from './harness/session.ts'
import { Feature, packU64, packVringState, Request } from './harness/vhost-user.ts'
import { DescriptorFlag, VirtqueueDriver } from './harness/virtqueue-driver.ts'
import { pack } from './harness/wire.ts'

const { INDIRECT, NEXT, WRITE } = DescriptorFlag

/** Queue 1 lies, queue 2 is honest. */
interface Stage extends Session {
  readonly liar: VirtqueueDriver
  readonly honest: VirtqueueDriver
  /** A well-formed GETATTR: 56 bytes to read and 120 to write. */
  readonly input: number
  readonly output: number
}

async function startStage(features = Feature.VERSION_1 | Feature.RING_INDIRECT_DESC): Promise<Stage> {
  const session = await startSession({ queues: 3, features })
  const [, liar, honest] = session.queues
  if (liar === undefined || honest === undefined) {
    throw new Error('three queues wanted')
  }
  const { memory } = session
  const input = memory.allocate(4096)
  const view = memory.view(input, 56)
  view.setUint32(0, 56, true)
  view.setUint32(4, Opcode.GETATTR, true)
  view.setBigUint64(8, 1n, true)
  view.setBigUint64(16, ROOT_ID, true)
  return { ...session, liar, honest, input, output: memory.allocate(4096) }
}

function expectHonestServed({ transport, honest }: Stage): void {
  const options = { queue: honest, replyBytes: 104 }
  for (let i = 0; i < 10; i++) {
    expect(transport.call(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), options)).toHaveLength(104)
  }
}

/** Waits until the liar's queue has been stopped. */
function expectStopped(stage: Stage): void {
  let signalled = false
  stage.transport.waitFor(() => {
    signalled ||= testing.eventfdRead(stage.liar.errorFd) > 0
    return signalled
  }, 'the error eventfd')
  expectHonestServed(stage)
  expect(stage.daemon.alive).toBe(true)
}

/** The frontend takes the queue back and starts it with clean rings. */
function restart(stage: Stage): void {
  const { frontend, liar, memory, transport } = stage
  frontend.getVringBase(liar.index)
  liar.reset()
  transport.abandon()
  frontend.startVring(liar, 0)
  frontend.sendAcked(Request.SET_VRING_ENABLE, packVringState(liar.index, 1))
  expect(transport.call(Opcode.GETATTR, ROOT_ID, new Uint8Array(16), { queue: liar, replyBytes: 104 })).toHaveLength(
    104,
  )
  expect(memory.regions.length).toBeGreaterThan(0)
}

/** Lies in descriptors, from descriptor 0 on. */
const BROKEN_CHAINS: [name: string, write: (stage: Stage) => void][] = [
  [
    'a descriptor that follows itself',
    ({ liar, input }) => {
      liar.writeDescriptor(0, BigInt(input), 56, NEXT, 0)
    },
  ],
  [
    'a loop of three',
    ({ liar, input, output }) => {
      liar.writeDescriptor(0, BigInt(input), 56, NEXT, 1)
      liar.writeDescriptor(1, BigInt(output), 16, NEXT | WRITE, 2)
      liar.writeDescriptor(2, BigInt(output), 16, NEXT | WRITE, 1)
    },
  ],
  [
    'a next beyond the table',
    ({ liar, input }) => {
      liar.writeDescriptor(0, BigInt(input), 56, NEXT, 128)
    },
  ],
  [
    'a next of 65535',
    ({ liar, input }) => {
      liar.writeDescriptor(0, BigInt(input), 56, NEXT, 65_535)
    },
  ],
  [
    'a readable descriptor after a writable one',
    ({ liar, input, output }) => {
      liar.writeDescriptor(0, BigInt(output), 120, NEXT | WRITE, 1)
      liar.writeDescriptor(1, BigInt(input), 56, 0, 0)
    },
  ],
  [
    'an indirect table of half a descriptor',
    ({ liar, input }) => {
      liar.writeDescriptor(0, BigInt(input), 24, INDIRECT, 0)
    },
  ],
  [
    'an empty indirect table',
    ({ liar, input }) => {
      liar.writeDescriptor(0, BigInt(input), 0, INDIRECT, 0)
    },
  ],
  [
    'an indirect table outside memory',
    ({ liar }) => {
      liar.writeDescriptor(0, 1n << 45n, 64, INDIRECT, 0)
    },
  ],
  [
    'an indirect table in an indirect table',
    ({ liar, memory, input }) => {
      const table = memory.allocate(64)
      liar.writeDescriptorAt(table, BigInt(input), 32, INDIRECT, 0)
      liar.writeDescriptor(0, BigInt(table), 16, INDIRECT, 0)
    },
  ],
  [
    'an indirect table that loops',
    ({ liar, memory, input, output }) => {
      const table = memory.allocate(64)
      liar.writeDescriptorAt(table, BigInt(input), 56, NEXT, 1)
      liar.writeDescriptorAt(table + 16, BigInt(output), 120, NEXT | WRITE, 1)
      liar.writeDescriptor(0, BigInt(table), 32, INDIRECT, 0)
    },
  ],
  [
    'a next beyond the indirect table',
    ({ liar, memory, input }) => {
      const table = memory.allocate(64)
      liar.writeDescriptorAt(table, BigInt(input), 56, NEXT, 2)
      liar.writeDescriptor(0, BigInt(table), 32, INDIRECT, 0)
    },
  ],
]

test.each(BROKEN_CHAINS)('stops a queue at %s', async (_name, write) => {
  const stage = await startStage()
  write(stage)
  stage.transport.submitWritten(stage.liar, 0)
  expectStopped(stage)
  restart(stage)
})

test('stops a queue whose head is beyond the table', async () => {
  for (const head of [128, 65_535]) {
    const stage = await startStage()
    stage.transport.submitWritten(stage.liar, head)
    expectStopped(stage)
    restart(stage)
  }
})

test('stops a queue whose available index runs away', async () => {
  for (const ahead of [129, 1000, 65_535]) {
    const stage = await startStage()
    stage.liar.setAvailableIndex(stage.liar.availableIndex + ahead)
    testing.eventfdWrite(stage.liar.kickFd)
    expectStopped(stage)
    restart(stage)
  }
})

/** Lies about where the request or the reply is: the chain is well-formed, so the queue may go on or stop. */
const BAD_BUFFERS: [name: string, write: (stage: Stage) => void][] = [
  ['a request outside memory', ({ liar, output }) => chain(liar, 1n << 45n, 56, BigInt(output), 120)],
  ['a request that wraps', ({ liar, output }) => chain(liar, (1n << 64n) - 8n, 56, BigInt(output), 120)],
  ['a reply outside memory', ({ liar, input }) => chain(liar, BigInt(input), 56, 1n << 45n, 120)],
  ['a reply that wraps', ({ liar, input }) => chain(liar, BigInt(input), 56, (1n << 64n) - 8n, 120)],
  ['a request of 4 GiB', ({ liar, input, output }) => chain(liar, BigInt(input), 0xffff_ffff, BigInt(output), 120)],
  ['a reply of 4 GiB', ({ liar, input, output }) => chain(liar, BigInt(input), 56, BigInt(output), 0xffff_ffff)],
  ['a request of 0 bytes', ({ liar, input, output }) => chain(liar, BigInt(input), 0, BigInt(output), 120)],
  ['a reply of 0 bytes', ({ liar, input, output }) => chain(liar, BigInt(input), 56, BigInt(output), 0)],
  ['a request of 39 bytes', ({ liar, input, output }) => chain(liar, BigInt(input), 39, BigInt(output), 120)],
  ['a reply of 15 bytes', ({ liar, input, output }) => chain(liar, BigInt(input), 56, BigInt(output), 15)],
  [
    'the end of memory within the request',
    ({ liar, output }) => chain(liar, BigInt((64 << 20) - 20), 56, BigInt(output), 120),
  ],
]

function chain(queue: VirtqueueDriver, from: bigint, fromLength: number, to: bigint, toLength: number): void {
  queue.writeDescriptor(0, from, fromLength, NEXT, 1)
  queue.writeDescriptor(1, to, toLength, WRITE, 0)
}

test.each(BAD_BUFFERS)('survives %s', async (_name, write) => {
  const stage = await startStage()
  const { liar, memory, output, transport } = stage
  memory.bytes(output, 4096).fill(0x5a)
  write(stage)
  const request: PendingRequest = transport.submitWritten(liar, 0)
  let stopped = false
  transport.waitFor(() => {
    stopped ||= testing.eventfdRead(liar.errorFd) > 0
    return request.done || stopped
  }, 'an end of the request or of the queue')
  // Nothing but the reply's own room was written.
  expect(memory.bytes(output + 120, 4096 - 120).every((byte) => byte === 0x5a)).toBe(true)
  expectHonestServed(stage)
  restart(stage)
})

test('ends at what the guest changes while it is read, without harm', async () => {
  const stage = await startStage()
  const { liar, input, output, transport, memory } = stage
  const descriptor = memory.view(liar.gpa.descriptors, 32)
  chain(liar, BigInt(input), 56, BigInt(output), 120)
  for (let round = 0; round < 200; round++) {
    const before = liar.availableIndex
    liar.addWritten(0)
    liar.kick(before, true)
    // The device may look at any moment between these.
    for (let i = 0; i < 50; i++) {
      descriptor.setUint32(8, i % 2 === 0 ? 56 : 0xffff_fff0, true)
      descriptor.setBigUint64(0, i % 3 === 0 ? BigInt(input) : 0xffff_ffff_ffff_fff0n, true)
    }
    descriptor.setUint32(8, 56, true)
    descriptor.setBigUint64(0, BigInt(input), true)
    const used = liar.usedIndex()
    transport.waitFor(
      () => liar.usedIndex() !== used || testing.eventfdRead(liar.errorFd) > 0 || liar.inFlight === 0,
      'it',
    )
    liar.reap()
    if (liar.inFlight > 0) {
      restart(stage)
      chain(liar, BigInt(input), 56, BigInt(output), 120)
    }
  }
  expectHonestServed(stage)
})

test('refuses rings outside memory and at odd addresses', async () => {
  const stage = await startStage()
  const { frontend, liar, memory } = stage
  frontend.getVringBase(liar.index)
  const table = memory.userAddress(liar.gpa.descriptors)
  const available = memory.userAddress(liar.gpa.available)
  const used = memory.userAddress(liar.gpa.used)
  const outside = 2 ** 52
  const last = memory.userAddress(64 << 20)
  const wrong = [
    [outside, used, available],
    [table, outside, available],
    [table, used, outside],
    [0, 0, 0],
    [last - 16, used, available],
    [table, last - 8, available],
    [table, used, last - 6],
    [table + 1, used, available],
    [table, used + 2, available],
    [table, used, available + 1],
    // Guest physical where frontend virtual addresses belong.
    [liar.gpa.descriptors, liar.gpa.used, liar.gpa.available],
  ] as const
  for (const addresses of wrong) {
    const payload = pack(
      ['u32', liar.index],
      ['u32', 0],
      ['u64', addresses[0]],
      ['u64', addresses[1]],
      ['u64', addresses[2]],
      ['u64', 0],
    )
    frontend.send(Request.SET_VRING_NUM, packVringState(liar.index, liar.size))
    let refused = frontend.acknowledged(Request.SET_VRING_ADDR, payload) !== 0n
    // The memory table might have followed; at the latest the start must fail.
    refused ||= frontend.acknowledged(Request.SET_VRING_KICK, packU64(liar.index), [liar.kickFd]) !== 0n
    refused ||= frontend.acknowledged(Request.SET_VRING_ENABLE, packVringState(liar.index, 1)) !== 0n
    testing.eventfdWrite(liar.kickFd)
    stage.transport.waitFor(
      () => refused || testing.eventfdRead(liar.errorFd) > 0,
      `refusal of ${addresses.join(', ')}`,
    )
    expectHonestServed(stage)
    frontend.getVringBase(liar.index)
    testing.eventfdRead(liar.errorFd)
  }
  restart(stage)
})

test('fails by itself alone when guest memory is cut off under it', async () => {
  const stage = await startStage()
  const { client, daemon, honest, input, memory, output, transport } = stage
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, Buffer.alloc(8192, 0x61))
  // The rings and all of the requests' own memory are below.
  expect(output).toBeLessThan(32 << 20)
  memory.truncate(32 << 20)
  const gone = [{ gpa: 40 << 20, length: 4096 }]
  for (let i = 0; i < 3; i++) {
    const read = client.startRead(entry.nodeid, fh, 0, 4096, gone)
    transport.waitFor(() => read.done, 'READ')
    expect(read.error).toBe(-14)
    const write = client.startWrite(entry.nodeid, fh, 0, gone)
    transport.waitFor(() => write.done, 'WRITE')
    expect(write.error).toBe(-14)
  }
  expect(client.read(entry.nodeid, fh, 0, 8192)).toEqual(Buffer.alloc(8192, 0x61))
  // A whole request in what is gone.
  stage.liar.writeDescriptor(0, BigInt(40 << 20), 56, NEXT, 1)
  stage.liar.writeDescriptor(1, BigInt(output), 120, WRITE, 0)
  const request = transport.submitWritten(stage.liar, 0)
  transport.waitFor(() => request.done || testing.eventfdRead(stage.liar.errorFd) > 0, 'an end')
  expectHonestServed(stage)
  expect(new FuseClient(transport).transport.memory.bytes(input, 4)).toBeDefined()
  expect(honest.inFlight).toBe(0)
  expect(daemon.alive).toBe(true)
})

test('stops a queue whose ring is cut off under it', async () => {
  const session = await startSession({ queues: 3, noInit: true })
  const { daemon, frontend, memory, transport, queues, client } = session
  client.init()
  const victim = queues[2]
  if (victim === undefined) {
    throw new Error('three queues wanted')
  }
  // Its rings move to the end of memory.
  frontend.getVringBase(2)
  const high = { descriptors: 48 << 20, available: 49 << 20, used: 50 << 20 }
  frontend.send(Request.SET_VRING_BASE, packVringState(2, 0))
  frontend.send(
    Request.SET_VRING_ADDR,
    pack(
      ['u32', 2],
      ['u32', 0],
      ['u64', memory.userAddress(high.descriptors)],
      ['u64', memory.userAddress(high.used)],
      ['u64', memory.userAddress(high.available)],
      ['u64', 0],
    ),
  )
  frontend.send(Request.SET_VRING_KICK, packU64(2), [victim.kickFd])
  frontend.send(Request.SET_VRING_ERR, packU64(2), [victim.errorFd])
  frontend.sendAcked(Request.SET_VRING_ENABLE, packVringState(2, 1))
  memory.truncate(32 << 20)
  testing.eventfdWrite(victim.kickFd)
  transport.waitFor(() => testing.eventfdRead(victim.errorFd) > 0, 'the error eventfd')
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  expect(daemon.alive).toBe(true)
})
