// SPDX-License-Identifier: Apache-2.0
/** Messages that no frontend should send: refused one by one, and never the end of the daemon. */
import { closeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { REFERENCE } from './harness/daemon.ts'
import { Frontend } from './harness/frontend.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { Disconnected } from './harness/message-socket.ts'
import { connectFrontend, type Session, startDaemon, startDevice, startSession } from './harness/session.ts'
import { Flag, packMemoryTable, packU64, packVringState, Request } from './harness/vhost-user.ts'
import { pack } from './harness/wire.ts'

/** Some descriptors of no use. */
function strayFds(count: number): number[] {
  return Array.from({ length: count }, () => testing.eventfd())
}

function header(request: number, flags: number, size: number): Uint8Array {
  return pack(['u32', request], ['u32', flags], ['u32', size])
}

function serves(session: Session): void {
  expect(session.client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
}

test.skipIf(REFERENCE !== undefined)('refuses by the acknowledgement what it can not do', async () => {
  const session = await startSession()
  const { frontend } = session
  const bad: [string, number, Uint8Array, number][] = [
    ['SET_VRING_NUM of no queue', Request.SET_VRING_NUM, packVringState(99, 128), 0],
    ['SET_VRING_NUM that is no power of two', Request.SET_VRING_NUM, packVringState(2, 100), 0],
    ['SET_VRING_NUM of 0', Request.SET_VRING_NUM, packVringState(2, 0), 0],
    ['SET_VRING_NUM too large', Request.SET_VRING_NUM, packVringState(2, 65_536), 0],
    ['SET_VRING_BASE of no queue', Request.SET_VRING_BASE, packVringState(99, 0), 0],
    ['SET_VRING_ENABLE of no queue', Request.SET_VRING_ENABLE, packVringState(99, 1), 0],
    ['SET_VRING_KICK of no queue', Request.SET_VRING_KICK, packU64(99), 1],
    ['SET_VRING_KICK without descriptor', Request.SET_VRING_KICK, packU64(2), 0],
    ['SET_VRING_CALL with two descriptors', Request.SET_VRING_CALL, packU64(2), 2],
    ['SET_VRING_ADDR too short', Request.SET_VRING_ADDR, new Uint8Array(39), 0],
    ['SET_MEM_TABLE without descriptor', Request.SET_MEM_TABLE, packMemoryTable(session.memory.regions), 0],
    [
      'SET_MEM_TABLE with too many regions',
      Request.SET_MEM_TABLE,
      pack(['u32', 9], ['u32', 0], new Uint8Array(288)),
      9,
    ],
    ['SET_MEM_TABLE that is cut', Request.SET_MEM_TABLE, pack(['u32', 2], ['u32', 0], new Uint8Array(32)), 2],
    ['SET_FEATURES too short', Request.SET_FEATURES, new Uint8Array(4), 0],
    ['SET_OWNER with a descriptor', Request.SET_OWNER, new Uint8Array(0), 1],
    ['unknown request', 77, new Uint8Array(8), 0],
    ['request 0', 0, new Uint8Array(0), 0],
  ]
  for (const [name, request, payload, count] of bad) {
    const fds = strayFds(count)
    expect(frontend.acknowledged(request, payload, fds), name).not.toBe(0n)
    fds.forEach((fd) => closeSync(fd))
    serves(session)
  }
})

test.skipIf(REFERENCE !== undefined)('closes every descriptor that it has no use for', async () => {
  const session = await startSession()
  const { daemon, frontend } = session
  serves(session)
  const before = daemon.openFiles
  for (let i = 0; i < 20; i++) {
    const fds = strayFds(8)
    frontend.acknowledged(Request.SET_OWNER, new Uint8Array(0), fds)
    frontend.acknowledged(Request.SET_VRING_CALL, packU64(1), fds)
    frontend.acknowledged(77, new Uint8Array(8), fds)
    fds.forEach((fd) => closeSync(fd))
  }
  serves(session)
  await expect.poll(() => daemon.openFiles, { timeout: 60_000 }).toBeLessThanOrEqual(before)
})

test('closes the eventfds and memory that newer ones replace', async () => {
  const session = await startSession()
  const { daemon, frontend, transport } = session
  serves(session)
  const before = daemon.openFiles
  for (let i = 0; i < 20; i++) {
    frontend.send(Request.SET_VRING_CALL, packU64(1), [transport.requestQueue.callFd])
    frontend.send(Request.SET_VRING_ERR, packU64(1), [transport.requestQueue.errorFd])
    frontend.commitMemory()
  }
  serves(session)
  await expect.poll(() => daemon.openFiles, { timeout: 60_000 }).toBeLessThanOrEqual(before)
})

test.skipIf(REFERENCE !== undefined)(
  'drops a connection whose messages have no meaning, and takes the next',
  async () => {
    const daemon = startDaemon({ args: ['--keep-listening'] })
    const streams: [string, Uint8Array][] = [
      ['a size of 4 GiB', header(Request.GET_FEATURES, Flag.VERSION, 0xffff_ffff)],
      ['a size beyond any message', header(Request.SET_MEM_TABLE, Flag.VERSION, 1 << 20)],
      ['version 0', header(Request.GET_FEATURES, 0, 0)],
      ['version 2', header(Request.GET_FEATURES, 2, 0)],
      ['a reply', header(Request.GET_FEATURES, Flag.VERSION | Flag.REPLY, 0)],
      ['noise', Uint8Array.from({ length: 4096 }, (_, i) => (i * 97 + 13) & 0xff)],
    ]
    for (const [name, bytes] of streams) {
      const frontend = new Frontend(await daemon.connect())
      frontend.socket.sendRaw(bytes)
      expect(() => frontend.socket.receive(60_000), name).toThrow(Disconnected)
      frontend.close()
    }
    // A header that never ends, and one without its payload.
    for (const bytes of [new Uint8Array(5), header(Request.SET_FEATURES, Flag.VERSION, 8)]) {
      const frontend = new Frontend(await daemon.connect())
      frontend.socket.sendRaw(bytes)
      frontend.close()
    }
    serves(startDevice(daemon, await connectFrontend(daemon)))
  },
)

test('understands messages that arrive byte by byte', async () => {
  const daemon = startDaemon()
  const frontend = new Frontend(await daemon.connect())
  const bytes = pack(['u32', Request.GET_FEATURES], ['u32', Flag.VERSION], ['u32', 0])
  for (const byte of bytes) {
    frontend.socket.sendRaw(Uint8Array.of(byte))
  }
  expect(frontend.socket.receive(60_000)?.request).toBe(Request.GET_FEATURES)
  // And several at once.
  frontend.socket.sendRaw(Buffer.concat([bytes, bytes, bytes]))
  for (let i = 0; i < 3; i++) {
    expect(frontend.socket.receive(60_000)?.request).toBe(Request.GET_FEATURES)
  }
  frontend.close()
})

test.skipIf(REFERENCE !== undefined)('bears random messages between honest ones', async () => {
  const session = await startSession({ args: ['--keep-listening'] })
  const { frontend } = session
  let state = 42
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % limit
  }
  const vring = new Set<number>([
    Request.SET_VRING_NUM,
    Request.SET_VRING_ADDR,
    Request.SET_VRING_BASE,
    Request.GET_VRING_BASE,
    Request.SET_VRING_KICK,
    Request.SET_VRING_CALL,
    Request.SET_VRING_ERR,
    Request.SET_VRING_ENABLE,
  ])
  // These would honestly change what runs; vring messages go to a queue that does not.
  const changing = new Set<number>([
    Request.RESET_DEVICE,
    Request.RESET_OWNER,
    Request.SET_STATUS,
    Request.SET_FEATURES,
    Request.SET_PROTOCOL_FEATURES,
    Request.SET_MEM_TABLE,
    Request.SET_BACKEND_REQ_FD,
    Request.ADD_MEM_REG,
    Request.REM_MEM_REG,
  ])
  for (let i = 0; i < 300; i++) {
    const request = random(50)
    if (changing.has(request)) {
      continue
    }
    const payload = Uint8Array.from({ length: random(64) }, () => random(256))
    if (vring.has(request) && payload.length > 0) {
      payload[0] = 2 + random(200)
    }
    const fds = strayFds(random(3))
    frontend.ask(request, payload, fds, Flag.NEED_REPLY)
    fds.forEach((fd) => closeSync(fd))
  }
  expect(session.daemon.alive).toBe(true)
  serves(session)
})
