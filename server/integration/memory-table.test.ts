// SPDX-License-Identifier: Apache-2.0
/** Guest memory in several regions, by SET_MEM_TABLE and by ADD/REM_MEM_REG. */
import { closeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { connectFrontend, outcome, startDaemon, startSession } from './harness/session.ts'
import { packMemoryTable, packRegion, ProtocolFeature, Request } from './harness/vhost-user.ts'
import { pack } from './harness/wire.ts'

const GIB = 2 ** 30
const LAYOUT = [
  { gpa: 0, sizeBytes: 16 << 20 },
  { gpa: 32 << 20, sizeBytes: 1 << 20 },
  { gpa: 4 * GIB, sizeBytes: 16 << 20 },
  { gpa: 64 * GIB, sizeBytes: 8 << 20 },
]

/** QEMU leaves slots out for the test device; frontends of rust-vmm have them. */
const WITH_SLOTS =
  ProtocolFeature.MQ |
  ProtocolFeature.REPLY_ACK |
  ProtocolFeature.BACKEND_REQ |
  ProtocolFeature.CONFIG |
  ProtocolFeature.BACKEND_SEND_FD |
  ProtocolFeature.CONFIGURE_MEM_SLOTS

test.each(['whole tables', 'slots'])('finds buffers and rings in every region, by %s', async (how) => {
  const protocolFeatures = how === 'slots' ? WITH_SLOTS : WITH_SLOTS & ~ProtocolFeature.CONFIGURE_MEM_SLOTS
  const session = await startSession({ memory: LAYOUT, protocolFeatures })
  const { client, memory, frontend } = session
  expect(frontend.has(ProtocolFeature.CONFIGURE_MEM_SLOTS)).toBe(how === 'slots')
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  for (const index of [2, 3, 0]) {
    memory.allocateFrom(index)
    const data = Buffer.from(`region ${index}`.repeat(1000))
    expect(client.write(entry.nodeid, fh, 0, data)).toBe(data.length)
    expect(client.read(entry.nodeid, fh, 0, data.length)).toEqual(data)
  }
})

test('reads data from and into several regions in one request', async () => {
  const { client, memory } = await startSession({ memory: LAYOUT })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  const segments = LAYOUT.map(({ gpa, sizeBytes }) => ({ gpa: gpa + sizeBytes - 3000, length: 3000 }))
  segments.forEach((segment, i) => memory.bytes(segment.gpa, segment.length).fill(i + 1))
  expect(client.write(entry.nodeid, fh, 0, segments)).toBe(12_000)
  const back = segments.toReversed()
  const pending = client.startRead(entry.nodeid, fh, 0, 12_000, back)
  client.transport.wait(pending)
  expect(pending.usedLength).toBe(12_016)
  back.forEach((segment, i) => {
    expect(memory.bytes(segment.gpa, segment.length).every((byte) => byte === i + 1)).toBe(true)
  })
})

// rust-vmm's memory has no such access.
test.skipIf(REFERENCE !== undefined)('takes a buffer that crosses from one region into the next', async () => {
  const layout = [
    { gpa: 0, sizeBytes: 16 << 20 },
    { gpa: 16 << 20, sizeBytes: 16 << 20 },
  ]
  const { client, memory } = await startSession({ memory: layout })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  const edge = 16 << 20
  memory.bytes(edge - 1000, 1000).fill(0x61)
  memory.bytes(edge, 1000).fill(0x62)
  expect(client.write(entry.nodeid, fh, 0, [{ gpa: edge - 1000, length: 2000 }])).toBe(2000)
  expect(client.read(entry.nodeid, fh, 0, 2000)).toEqual(Buffer.from('a'.repeat(1000) + 'b'.repeat(1000)))
})

test.skipIf(REFERENCE !== undefined)('fails a request alone whose buffer lies in no region', async () => {
  const { client, memory, queues } = await startSession({ memory: LAYOUT })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  const good = { gpa: memory.allocate(4096), length: 4096 }
  const wrong = [
    { gpa: 20 << 20, length: 4096 },
    { gpa: (16 << 20) - 100, length: 4096 },
    { gpa: 2 ** 52, length: 4096 },
    { gpa: 2 * GIB, length: 1 },
  ]
  for (const segment of wrong) {
    expect(outcome(() => client.write(entry.nodeid, fh, 0, [segment]))).toBe('EFAULT')
    expect(outcome(() => client.write(entry.nodeid, fh, 0, [good, segment]))).toMatch(/EFAULT|ok/)
    client.write(entry.nodeid, fh, 0, Buffer.alloc(10_000, 1))
    expect(outcome(() => client.read(entry.nodeid, fh, 0, segment.length, [segment]))).toBe('EFAULT')
  }
  expect(queues[1]?.inFlight).toBe(0)
})

test.skipIf(REFERENCE !== undefined)('takes a region away and gives another', async () => {
  const { client, frontend, memory } = await startSession({ memory: LAYOUT, protocolFeatures: WITH_SLOTS })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, Buffer.alloc(100, 0x61))
  const last = memory.regions[3]
  if (last === undefined) {
    throw new Error('no region 3')
  }
  const segment = { gpa: last.gpa, length: 100 }
  const remove = (): bigint => frontend.acknowledged(Request.REM_MEM_REG, pack(['u64', 0], packRegion(last)))
  const add = (fds: number[]): bigint =>
    frontend.acknowledged(Request.ADD_MEM_REG, pack(['u64', 0], packRegion(last)), fds)
  client.read(entry.nodeid, fh, 0, 100, [segment])
  expect(memory.bytes(last.gpa, 1)[0]).toBe(0x61)
  // Once more would overlap.
  expect(add([last.fd])).not.toBe(0n)
  expect(remove()).toBe(0n)
  expect(remove()).not.toBe(0n)
  expect(outcome(() => client.read(entry.nodeid, fh, 0, 100, [segment]))).toBe('EFAULT')
  expect(add([])).not.toBe(0n)
  expect(add([last.fd])).toBe(0n)
  memory.bytes(last.gpa, 100).fill(0)
  client.read(entry.nodeid, fh, 0, 100, [segment])
  expect(memory.bytes(last.gpa, 1)[0]).toBe(0x61)
})

test.skipIf(REFERENCE !== undefined)('refuses tables that make no sense and keeps the one it has', async () => {
  const { client, frontend, memory } = await startSession({ memory: LAYOUT })
  const [first, second] = memory.regions.map(({ gpa, sizeBytes, userAddress, fd, fdOffset }) => {
    return { gpa, sizeBytes, userAddress, fd, fdOffset }
  })
  if (first === undefined || second === undefined) {
    throw new Error('no regions')
  }
  const wrong = [
    [{ ...first, sizeBytes: 0 }],
    [first, { ...second, gpa: first.gpa + 4096 }],
    [first, { ...second, userAddress: first.userAddress + 4096 }],
    [{ ...first, fdOffset: 2 ** 40 }],
    [{ ...first, fdOffset: 123 }],
    [{ ...first, sizeBytes: 2 ** 60 }],
    [{ ...first, gpa: 2 ** 64 - 4096 }],
  ]
  for (const regions of wrong) {
    expect(
      frontend.acknowledged(
        Request.SET_MEM_TABLE,
        packMemoryTable(regions),
        regions.map((region) => region.fd),
      ),
      JSON.stringify(regions),
    ).not.toBe(0n)
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  }
  const pipe = testing.eventfd()
  expect(frontend.acknowledged(Request.SET_MEM_TABLE, packMemoryTable([first]), [pipe])).not.toBe(0n)
  closeSync(pipe)
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test('takes as many regions as it says and no more', async () => {
  const daemon = startDaemon({ args: ['--configure-mem-slots=on'] })
  const frontend = await connectFrontend(daemon, { protocolFeatures: WITH_SLOTS })
  expect(frontend.memorySlots).toBeGreaterThan(8)
  const fd = testing.memfdCreate('regions', 4096)
  const add = (index: number): bigint => {
    const gpa = index * 0x10000
    const region = { gpa, sizeBytes: 4096, userAddress: gpa, fd, fdOffset: 0 }
    return frontend.acknowledged(Request.ADD_MEM_REG, pack(['u64', 0], packRegion(region)), [fd])
  }
  for (let index = 0; index < frontend.memorySlots; index++) expect(add(index)).toBe(0n)
  expect(add(frontend.memorySlots)).not.toBe(0n)
  expect(daemon.alive).toBe(true)
  closeSync(fd)
})
