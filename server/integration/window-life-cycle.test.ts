// SPDX-License-Identifier: Apache-2.0
/** When the window comes, when its mappings go, and what happens where it can't be had. */
import { existsSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { mountBadDisk } from './harness/bad-disk.ts'
import { TEST_WINDOW } from './harness/daemon.ts'
import { Frontend } from './harness/frontend.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { Disconnected } from './harness/message-socket.ts'
import { connectFrontend, outcome, startDaemon, startDevice, startSession } from './harness/session.ts'
import { packU64, packVringState, ProtocolFeature, Request } from './harness/vhost-user.ts'
import {
  DAX_INIT_FLAGS,
  hostBytes,
  makeFile,
  RANGE,
  READ,
  readCounters,
  stamped,
  startWindowSession,
  windowOf,
  WINDOW_BYTES,
} from './harness/window-session.ts'

const windowArgs = [`--window-size=${WINDOW_BYTES}`]

test('answers only when the memory table shows the window', async () => {
  const daemon = startDaemon({ window: TEST_WINDOW, args: windowArgs })
  const frontend = await connectFrontend(daemon)
  const session = startDevice(daemon, frontend, { noInit: true, queueSize: 256 })
  const { client, transport } = session
  const early: number[] = []
  frontend.beforeCommit = () => {
    // The daemon has its acknowledgement; give it every chance to be too early.
    const deadline = Date.now() + 100
    while (Date.now() < deadline) {
      if (transport.requestQueue.usedIndex() !== usedBefore) {
        early.push(usedBefore)
      }
    }
  }
  let usedBefore = transport.requestQueue.usedIndex()
  client.init(DAX_INIT_FLAGS)
  const nodeid = makeFile(session, 'file', RANGE, 2)
  usedBefore = transport.requestQueue.usedIndex()
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  expect(early).toEqual([])
  expect(windowOf(frontend).read(0, 64)).toEqual(new Uint8Array(stamped(64, 2)))
  expect(frontend.backendMessages).toBeGreaterThan(0)
})

test('has a window of the size that was asked for', async () => {
  for (const [text, size] of [
    ['2M', 2 << 20],
    ['4G', 2 ** 32],
  ] as const) {
    const daemon = startDaemon({ window: TEST_WINDOW, args: [`--window-size=${text}`] })
    expect((await connectFrontend(daemon)).window?.sizeBytes).toBe(size)
  }
})

test.each(['INIT', 'DESTROY'])('drops every mapping on %s', async (how) => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', 2 * RANGE)
  for (let i = 0; i < 10; i++) {
    client.setupMapping(nodeid, RANGE, RANGE, READ, i * RANGE)
  }
  expect((await readCounters(session)).live).toBe(10)
  if (how === 'DESTROY') {
    client.destroy()
    expect((await readCounters(session)).live).toBe(0)
    expect(window.read(0, 1)).toBeUndefined()
  }
  client.init(DAX_INIT_FLAGS)
  expect((await readCounters(session)).live).toBe(0)
  expect(window.read(9 * RANGE, 1)).toBeUndefined()
  const again = client.lookup(ROOT_ID, 'file').nodeid
  client.setupMapping(again, 0, RANGE, READ, 0)
  expect(window.read(0, 64)).toEqual(new Uint8Array(stamped(64, 1)))
})

test('drops every mapping on a device reset, and has a window at the next start', async () => {
  const session = await startWindowSession()
  const { client, frontend, memory, queues, transport, window } = session
  for (let round = 0; round < 3; round++) {
    const nodeid = makeFile(session, `file-${round}`, RANGE, round)
    client.setupMapping(nodeid, 0, RANGE, READ, round * RANGE)
    client.setupMapping(nodeid, 0, RANGE, READ, 7 * RANGE)
    expect(window.read(7 * RANGE, 64)).toEqual(new Uint8Array(stamped(64, round)))
    frontend.reset()
    transport.abandon()
    expect((await readCounters(session)).live).toBe(0)
    frontend.start(memory, queues)
    client.init(DAX_INIT_FLAGS)
    expect(window.read(7 * RANGE, 1)).toBeUndefined()
  }
  expect(window.log.every((entry) => entry.accepted)).toBe(true)
})

test('keeps mappings over VM stop and cont', async () => {
  const session = await startWindowSession()
  const { client, frontend, window } = session
  const nodeid = makeFile(session, 'file', 2 * RANGE, 3)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  const messages = frontend.backendMessages
  for (let round = 0; round < 3; round++) {
    frontend.resume(frontend.stop())
    expect(window.read(0, 64)).toEqual(new Uint8Array(stamped(64, 3)))
    expect(client.getattr(nodeid).size).toBe(2 * RANGE)
  }
  expect(frontend.backendMessages).toBe(messages)
  client.setupMapping(nodeid, RANGE, RANGE, READ, RANGE)
  expect(window.read(RANGE, 64)).toEqual(new Uint8Array(stamped(2 * RANGE, 3).subarray(RANGE, RANGE + 64)))
  expect((await readCounters(session)).live).toBe(2)
})

test('a request that waits for the frontend when the VM stops is answered after cont', async () => {
  const session = await startWindowSession({ noInit: true })
  const { client, frontend, transport } = session
  let request: PendingRequest
  if (TEST_WINDOW === 'memory-view') {
    request = client.startInit(DAX_INIT_FLAGS)
  } else {
    client.init(DAX_INIT_FLAGS)
    request = client.startSetupMapping(makeFile(session, 'file', RANGE, 3), 0, RANGE, READ, 0)
  }
  // The daemon's message is there, and the frontend's thread is busy stopping instead of serving it.
  expect(testing.poll(Int32Array.of(frontend.backend?.fd ?? -1), new Int16Array(1), 60_000)).toBe(1)
  const bases = frontend.stop()
  expect(request.done).toBe(false)
  frontend.resume(bases)
  transport.wait(request)
  if (TEST_WINDOW !== 'memory-view') {
    expect(windowOf(frontend).read(0, 64)).toEqual(new Uint8Array(stamped(64, 3)))
  }
})

test('what a stop of another queue interrupts comes again when that stop is over, and not before', async () => {
  const disk = await mountBadDisk()
  writeFileSync(disk.at('slow'), 'slow')
  const session = await startWindowSession({ window: 'shmem', sharedDir: disk.mountPoint, queues: 3 })
  const { client, frontend, queues, transport } = session
  const nodeid = makeFile(session, 'file', RANGE, 3)
  const slow = client.lookup(ROOT_ID, 'slow').nodeid
  const rule = await disk.stall('read', { path: '/slow', times: 1 })
  const queue = queues[2]
  if (queue === undefined) throw new Error('no third queue')
  const read = client.startRead(slow, client.open(slow, 0), 0, 4096, undefined, { queue })
  await rule.hit()
  const mapping = client.startSetupMapping(nodeid, 0, RANGE, READ, 0)
  expect(testing.poll(Int32Array.of(frontend.backend?.fd ?? -1), new Int16Array(1), 60_000)).toBe(1)
  frontend.send(Request.GET_VRING_BASE, packVringState(2, 0))
  // Counted once it has been interrupted.
  while ((await readCounters(session)).mappingsAsked === 0);
  for (let i = 0; i < 20; i++) expect((await readCounters(session)).mappingsAsked).toBe(1)
  await rule.end()
  expect(frontend.socket.receive(60_000)?.request).toBe(Request.GET_VRING_BASE)
  transport.wait(mapping)
  expect(windowOf(frontend).read(0, 64)).toEqual(new Uint8Array(stamped(64, 3)))
  // Its reply came before the stop.
  transport.wait(read)
})

test('drops every mapping when the frontend goes, and serves the next one', async () => {
  const daemon = startDaemon({ window: TEST_WINDOW, args: [...windowArgs, '--keep-listening'] })
  for (let guest = 0; guest < 3; guest++) {
    const frontend = await connectFrontend(daemon)
    const session = startDevice(daemon, frontend, { initFlags: DAX_INIT_FLAGS, queueSize: 256 })
    expect((await readCounters(session)).live).toBe(0)
    const nodeid = makeFile(session, `file-${guest}`, RANGE, guest)
    session.client.setupMapping(nodeid, 0, RANGE, READ, 5 * RANGE)
    expect(windowOf(frontend).read(5 * RANGE, 64)).toEqual(new Uint8Array(stamped(64, guest)))
    frontend.close()
  }
})

test('gives a guest that does not ask for it no window', async () => {
  const session = await startWindowSession({ initFlags: DAX_INIT_FLAGS & ~(1n << 26n) })
  expect((session.initReply?.flags ?? 0n) & (1n << 26n)).toBe(0n)
  expect(session.frontend.backendMessages).toBe(0)
})

test('offers nothing with --window=none', async () => {
  const { client, frontend } = await startSession({ window: 'none', initFlags: DAX_INIT_FLAGS })
  expect(frontend.offeredProtocolFeatures & ProtocolFeature.SHMEM).toBe(0n)
  expect(frontend.window).toBeUndefined()
  const { entry } = client.create(ROOT_ID, 'file', 2)
  expect(outcome(() => client.setupMapping(entry.nodeid, 0, RANGE, READ, 0))).toBe('ENOSYS')
  const args = new Uint8Array(20).fill(1, 0, 1)
  expect(outcome(() => client.transport.call(Opcode.REMOVEMAPPING, 1n, args))).toBe('ENOSYS')
})

test.skipIf(existsSync('/dev/memory-view'))('says what is missing where there is no driver', async () => {
  const daemon = startDaemon({ window: 'memory-view' })
  expect(await daemon.exit()).toEqual({ code: 1, signal: null })
  expect(daemon.log).toContain('/dev/memory-view')
  expect(daemon.log).toContain('modprobe memory_view')
  const auto = await startSession({ window: 'auto', initFlags: DAX_INIT_FLAGS })
  expect(auto.daemon.log).toMatch(/window auto: none, because .*\/dev\/memory-view/)
  expect(auto.frontend.window).toBeUndefined()
})

test('says what is missing where the frontend has no shared memory regions', async () => {
  const daemon = startDaemon({ window: TEST_WINDOW, args: windowArgs })
  const frontend = new Frontend(await daemon.connect(), {
    protocolFeatures: ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK | ProtocolFeature.CONFIG,
  })
  expect(() => {
    frontend.realize()
    for (;;) {
      frontend.askU64(Request.GET_FEATURES)
    }
  }).toThrow(Disconnected)
  frontend.close()
  expect((await daemon.exit()).code).not.toBe(0)
  expect(daemon.log).toContain('VHOST_USER_PROTOCOL_F_SHMEM')
})

test('says what is missing where the frontend’s device has no window, although the frontend knows the messages', async () => {
  const daemon = startDaemon({ window: TEST_WINDOW, args: windowArgs })
  const frontend = await connectFrontend(daemon, { device: 'fs-pci' })
  expect(frontend.has(ProtocolFeature.SHMEM)).toBe(true)
  expect(() => startDevice(daemon, frontend)).toThrow(/the daemon (has closed|is gone)/)
  expect((await daemon.exit()).code).toBe(1)
  expect(daemon.log).toContain('its device has none')
  expect(daemon.log).not.toContain('this frontend gets')
})

test('says that a frontend gets the window when it asks for its size', async () => {
  const { daemon } = await startWindowSession()
  expect(daemon.log).toContain(`this frontend gets the ${TEST_WINDOW} window`)
})

test.skipIf(!existsSync('/dev/memory-view'))('auto gives a device without a window none, and says so', async () => {
  const session = await startSession({ window: 'auto', device: 'fs-pci', initFlags: DAX_INIT_FLAGS })
  expect((session.initReply?.flags ?? 0n) & (1n << 26n)).toBe(0n)
  expect(session.daemon.log).toContain('window auto: none for this frontend, because its device has none')
})

test('refuses a ring that lies in the window', async () => {
  const session = await startWindowSession({ queues: 3 })
  const { client, frontend, queues, window } = session
  const nodeid = makeFile(session, 'file', RANGE)
  client.setupMapping(nodeid, 0, RANGE, READ | 1, 0)
  const [region] = window.regions
  const queue = queues[2]
  if (region === undefined || queue === undefined) {
    throw new Error('no region or queue')
  }
  frontend.getVringBase(2)
  const payload = new Uint8Array(40)
  const fields = new DataView(payload.buffer)
  fields.setUint32(0, 2, true)
  for (const at of [8, 16, 24]) {
    fields.setBigUint64(at, BigInt(region.userAddress + 4096 * at), true)
  }
  let refused = frontend.acknowledged(Request.SET_VRING_ADDR, payload) !== 0n
  refused ||= frontend.acknowledged(Request.SET_VRING_KICK, packU64(2), [queue.kickFd]) !== 0n
  refused ||= frontend.acknowledged(Request.SET_VRING_ENABLE, Uint8Array.of(2, 0, 0, 0, 1, 0, 0, 0)) !== 0n
  testing.eventfdWrite(queue.kickFd)
  session.transport.waitFor(() => refused || testing.eventfdRead(queue.errorFd) > 0, 'a refusal')
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  expect(Buffer.compare(hostBytes(session, 'file'), stamped(RANGE, 1))).toBe(0)
})
