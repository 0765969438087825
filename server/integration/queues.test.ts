// SPDX-License-Identifier: Apache-2.0
/** Honest rings of every shape: event index, indirect descriptors, many requests and queues in flight. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import type { Segment } from './harness/guest-memory.ts'
import { startSession } from './harness/session.ts'
import { Feature } from './harness/vhost-user.ts'

/** Segments of these lengths, one after the other. */
function cut(lengths: readonly number[], start: number): Segment[] {
  let gpa = start
  return lengths.map((length) => {
    gpa += length
    return { gpa: gpa - length, length }
  })
}

const SHAPES = [
  { name: 'plain', features: Feature.VERSION_1, queueSize: 128 },
  { name: 'event index', features: Feature.VERSION_1 | Feature.RING_EVENT_IDX, queueSize: 128 },
  { name: 'indirect', features: Feature.VERSION_1 | Feature.RING_INDIRECT_DESC, queueSize: 64 },
  {
    name: 'both, 1024 entries',
    features: Feature.VERSION_1 | Feature.RING_EVENT_IDX | Feature.RING_INDIRECT_DESC,
    queueSize: 1024,
  },
  { name: 'a queue of 8', features: Feature.VERSION_1 | Feature.RING_EVENT_IDX, queueSize: 8 },
]

test.each(SHAPES)('completes all of many requests in flight: $name', async ({ features, queueSize }) => {
  const { client, daemon, transport, queues } = await startSession({ features, queueSize })
  const queue = transport.requestQueue
  const depth = queue.features.indirect ? queueSize : Math.floor(queueSize / 4)
  for (let i = 0; i < 64; i++) {
    writeFileSync(join(daemon.sharedDir, `file-${i}`), `${i}`.repeat(i + 1))
  }
  const files = Array.from({ length: 64 }, (_, i) => client.lookup(ROOT_ID, `file-${i}`))
  const args = new Uint8Array(16)
  const pending: { request: PendingRequest; size: number }[] = []
  let sent = 0
  let done = 0
  while (done < 3000) {
    while (pending.length < depth && sent < 3000) {
      const file = files[sent % files.length]
      const request = transport.submit(Opcode.GETATTR, file?.nodeid ?? 0n, args, { replyBytes: 104 })
      pending.push({ request, size: file?.attr.size ?? -1 })
      sent++
    }
    transport.waitFor(() => pending.some(({ request }) => request.done), 'a completion')
    for (let i = pending.length - 1; i >= 0; i--) {
      const entry = pending[i]
      if (entry?.request.done === true) {
        const body = entry.request.result()
        // fuse_attr_out: the size stands at 16 + 8.
        expect(Number(new DataView(body.buffer, body.byteOffset).getBigUint64(24, true))).toBe(entry.size)
        pending.splice(i, 1)
        done++
      }
    }
  }
  expect(queues.every((one) => one.inFlight === 0)).toBe(true)
})

test('crosses the wrap of the 16-bit ring index', async () => {
  const { transport } = await startSession({ queueSize: 256 })
  const args = new Uint8Array(16)
  const batch = 64
  for (let sent = 0; sent < 66_000; sent += batch) {
    const before = transport.requestQueue.availableIndex
    const requests = Array.from({ length: batch }, () =>
      transport.enqueue(Opcode.GETATTR, ROOT_ID, args, { replyBytes: 104 }),
    )
    transport.requestQueue.kick(before)
    transport.waitFor(() => requests.every((request) => request.done), 'a batch')
    if (requests.some((request) => request.error !== 0)) {
      throw new Error(`an error after ${sent} requests`)
    }
  }
  expect(transport.requestQueue.inFlight).toBe(0)
})

test.skipIf(REFERENCE !== undefined)('serves several queues at once', async () => {
  const { client, transport, queues } = await startSession({ queues: 4 })
  const { entry } = client.create(ROOT_ID, 'file', 2)
  const requests: PendingRequest[] = []
  while (requests.length < 3000) {
    for (const queue of queues.slice(1)) {
      while (queue.inFlight < 30) {
        const options = { queue, replyBytes: 104 }
        requests.push(transport.submit(Opcode.GETATTR, entry.nodeid, new Uint8Array(16), options))
      }
    }
    transport.waitFor(() => queues.some((queue) => queue.inFlight < 30 && queue.index > 0), 'room')
  }
  transport.waitFor(() => requests.every((request) => request.done), 'all queues')
  expect(requests.every((request) => request.error === 0)).toBe(true)
})

test('serves forgets and requests on the hiprio queue', async () => {
  const { client, hiprio } = await startSession()
  const { entry } = client.create(ROOT_ID, 'file', 2)
  for (let i = 0; i < 100; i++) {
    client.lookup(ROOT_ID, 'file')
    client.forget(entry.nodeid, 1, { queue: hiprio })
  }
  client.transport.call(Opcode.GETATTR, entry.nodeid, new Uint8Array(16), { queue: hiprio, replyBytes: 104 })
  expect(client.getattr(entry.nodeid).nlink).toBe(1)
})

test('takes requests and replies in pieces of any size', async () => {
  const { client, memory, transport } = await startSession({ queueSize: 256 })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  const data = Buffer.from(Array.from({ length: 500 }, (_, i) => i & 0xff))
  const base = memory.allocate(4096)
  for (const piece of [1, 3, 7, 64, 499]) {
    memory.bytes(base, 500).set(data)
    const segments = Array.from({ length: Math.ceil(500 / piece) }, (_, i) => ({
      gpa: base + i * piece,
      length: Math.min(piece, 500 - i * piece),
    }))
    if (segments.length > 200) {
      segments.splice(100, segments.length, { gpa: base + 100 * piece, length: 500 - 100 * piece })
    }
    expect(client.write(entry.nodeid, fh, 0, segments)).toBe(500)
    memory.bytes(base, 500).fill(0)
    const pending = client.startRead(entry.nodeid, fh, 0, 500, segments)
    transport.wait(pending)
    expect(pending.usedLength).toBe(516)
    expect(Buffer.compare(memory.bytes(base, 500), data)).toBe(0)
  }
})

test('finds headers that are spread over descriptors, and joined ones', async () => {
  const { memory, transport } = await startSession({ features: Feature.VERSION_1 })
  const queue = transport.requestQueue
  const base = memory.allocate(4096)
  const view = memory.view(base, 56)
  view.setUint32(0, 56, true)
  view.setUint32(4, Opcode.GETATTR, true)
  view.setBigUint64(8, 77n, true)
  view.setBigUint64(16, ROOT_ID, true)
  const shapes = [
    { readable: [56], writable: [120] },
    { readable: [1, 39, 16], writable: [8, 8, 104] },
    { readable: [40, 16], writable: [16, 104] },
    { readable: Array.from({ length: 56 }, () => 1), writable: Array.from({ length: 60 }, () => 2) },
  ]
  for (const { readable, writable } of shapes) {
    memory.bytes(base + 1024, 120).fill(0)
    const pending = transport.submitSegments(queue, cut(readable, base), cut(writable, base + 1024))
    transport.waitFor(() => pending.done, 'GETATTR')
    expect(pending.usedLength).toBe(120)
    const reply = memory.view(base + 1024, 120)
    expect([reply.getUint32(0, true), reply.getInt32(4, true), reply.getBigUint64(8, true)]).toEqual([120, 0, 77n])
  }
})
