// SPDX-License-Identifier: Apache-2.0
/**
 * The vhost-user side: messages with descriptors over a socket, cut anywhere, into Connection, BackendRequestHandler and
 * the native device. Whatever comes, the connection ends with a fault of the frontend or its hang-up, each reply is
 * framed as the specification wants it, and no descriptor stays open.
 */
import fs, { closeSync } from 'node:fs'
import { receiveWithFds, sendWithFds } from '../../../native/index.ts'
import { testing } from '../../../native/testing/index.ts'
import { BackendRequestHandler, type StateTransfer } from '../../vhost-user/backend-request-handler.ts'
import { Connection } from '../../vhost-user/connection.ts'
import { OFFERED_VIRTIO_FEATURES, offeredProtocolFeatures } from '../../vhost-user/features.ts'
import { FrontendRequest, HEADER_BYTES, MAX_PAYLOAD_BYTES, VhostUserError } from '../../vhost-user/message.ts'
import { VirtioDevice } from '../../virtio/device.ts'
import { type Script, splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'
import { hash } from './hash.ts'

const QUEUES = 3
/** What a migration needs. Chosen apart from the others, whose places in the list programs of the corpus go by. */
const MIGRATION: readonly number[] = [
  FrontendRequest.SET_LOG_BASE,
  FrontendRequest.SET_LOG_FD,
  FrontendRequest.SET_DEVICE_STATE_FD,
  FrontendRequest.CHECK_DEVICE_STATE,
]
const REQUESTS = Object.values(FrontendRequest).filter((request) => !MIGRATION.includes(request))
const WITH_FD: readonly number[] = [
  FrontendRequest.SET_VRING_KICK,
  FrontendRequest.SET_VRING_CALL,
  FrontendRequest.SET_VRING_ERR,
  FrontendRequest.SET_BACKEND_REQ_FD,
  FrontendRequest.ADD_MEM_REG,
  FrontendRequest.REM_MEM_REG,
  FrontendRequest.SET_LOG_BASE,
  FrontendRequest.SET_LOG_FD,
  FrontendRequest.SET_DEVICE_STATE_FD,
]
const STATE: readonly number[] = [
  FrontendRequest.SET_VRING_NUM,
  FrontendRequest.SET_VRING_BASE,
  FrontendRequest.GET_VRING_BASE,
  FrontendRequest.SET_VRING_ENABLE,
]
const WORD: readonly number[] = [
  FrontendRequest.SET_FEATURES,
  FrontendRequest.SET_PROTOCOL_FEATURES,
  FrontendRequest.SET_VRING_KICK,
  FrontendRequest.SET_VRING_CALL,
  FrontendRequest.SET_VRING_ERR,
  FrontendRequest.SET_STATUS,
]
const WITH_MEMORY: readonly number[] = [
  FrontendRequest.ADD_MEM_REG,
  FrontendRequest.SET_MEM_TABLE,
  FrontendRequest.SET_LOG_BASE,
]
/** Regions are made of these. */
const ADDRESSES = [0n, 0x1000n, 0x10_0000n, 0x7000_0000_0000n, 1n << 55n, 1n << 56n, (1n << 64n) - 0x1000n]

interface Wire {
  readonly bytes: Uint8Array
  readonly fds: number[]
}

/** What a device's state is fuzzed by is another target. */
const NO_STATE: StateTransfer = {
  begin: (load, fd) => {
    closeSync(fd)
    return load
  },
  result: () => Promise.resolve(true),
}

export class VhostUserTarget implements Target {
  readonly name = 'vhost-user'
  readonly #device = new VirtioDevice(QUEUES, 0)
  readonly #memory = testing.memfdCreate('ram', 1 << 20)
  #descriptors: number | undefined

  covers(url: string): boolean {
    return /\/server\/(vhost-user|virtio)\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    const { head, steps } = splitProgram(program)
    const window = (head.byte() & 1) !== 0
    const outcomes: number[] = []
    const [ours, theirs] = testing.socketPair()
    const offered = {
      window: window ? 'memory-view' : 'none',
      memorySlots: 'on',
      config: true,
      deviceState: true,
    } as const
    const protocolFeatures = offeredProtocolFeatures(offered)
    const options = { tag: 'fuzz', protocolFeatures, windowSize: window ? 1 << 30 : 0 }
    const handler = new BackendRequestHandler(
      this.#device,
      options,
      {
        protocolFeaturesSet: () => {},
        queueUsed: () => {},
        deviceStarting: () => {},
        windowAsked: () => {},
        ringContinues: () => {},
        deviceReset: () => this.#device.control.forgetWindow(),
      },
      NO_STATE,
    )
    const ended = new Promise<Error | undefined>((resolve) => {
      const connection = new Connection(theirs, handler, resolve)
      connection.onFault = (error) => outcomes.push(hash(error.code))
    })
    for (const step of steps) this.#send(ours, this.#message(step), step)
    // Ends any message, and is none.
    this.#send(ours, { bytes: new Uint8Array(HEADER_BYTES + MAX_PAYLOAD_BYTES), fds: [] }, undefined)
    const error = await ended
    if (!(error instanceof VhostUserError)) throw new Error('not a fault of the frontend', { cause: error })
    outcomes.push(hash(error.code), ...readReplies(ours))
    closeSync(ours)
    await this.#device.stopAllQueues()
    this.#device.control.reset()
    const descriptors = fs.readdirSync('/proc/self/fd').length
    this.#descriptors ??= descriptors
    if (descriptors !== this.#descriptors) throw new Error(`${descriptors} descriptors, not ${this.#descriptors}`)
    return outcomes
  }

  close(): Promise<void> {
    this.#device.close()
    closeSync(this.#memory)
    return Promise.resolve()
  }

  /** Whole, or in two pieces; what no longer fits into the socket is left out. */
  #send(socket: number, { bytes, fds }: Wire, step: Script | undefined): void {
    const cut = step === undefined || step.byte() < 200 ? bytes.length : step.below(Math.max(1, bytes.length))
    for (const [part, descriptors] of [
      [bytes.subarray(0, cut), fds],
      [bytes.subarray(cut), []],
    ] as const) {
      if (part.length > 0 && sendWithFds(socket, part, descriptors) < 0) break
    }
    for (const fd of fds) if (fd !== this.#memory) closeSync(fd)
  }

  #message(step: Script): Wire {
    const kind = step.byte()
    const request = kind < 240 ? step.pick(REQUESTS) : kind < 248 ? step.pick(MIGRATION) : step.below(64)
    const flags = [1, 9, 1, 9, 1, 9, 1, 5, 2][step.below(9)] ?? 1
    const fds: number[] = []
    const wantsFd = WITH_FD.includes(request) && request !== FrontendRequest.REM_MEM_REG
    const extra = step.byte()
    const count = extra < 220 ? (wantsFd ? 1 : 0) : extra % 4
    for (let i = 0; i < count; i++) fds.push(this.#descriptor(step, request))
    const payload = this.#payload(step, request, fds)
    const lie = step.byte()
    const size = lie < 235 ? payload.length : lie < 245 ? step.below(64) : step.word()
    const bytes = new Uint8Array(HEADER_BYTES + payload.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, request, true)
    view.setUint32(4, flags, true)
    view.setUint32(8, size, true)
    bytes.set(payload, HEADER_BYTES)
    return { bytes, fds }
  }

  #descriptor(step: Script, request: number): number {
    const kind = step.byte()
    if (kind < 200) {
      return WITH_MEMORY.includes(request) ? this.#memory : testing.eventfd()
    }
    if (kind < 215) return this.#memory
    if (kind < 230) return testing.eventfd()
    return fs.openSync(['/dev/null', '/', '/proc/self/exe', '/proc/self/mem'][kind % 4] ?? '/', 'r')
  }

  #payload(step: Script, request: number, fds: number[]): Uint8Array {
    const queue = step.below(QUEUES + 1)
    if (STATE.includes(request)) {
      return words([
        queue,
        step.byte() < 128 ? step.pick<number>([1, 0, 2, 128, 256, 1024, 32768, 65535]) : step.word(),
      ])
    }
    if (WORD.includes(request)) {
      const kind = step.byte()
      return longs([
        kind < 128 ? BigInt(queue | ((kind & 1) << 8)) : kind < 200 ? OFFERED_VIRTIO_FEATURES : step.long(),
      ])
    }
    if (request === FrontendRequest.SET_VRING_ADDR) {
      const address = (): bigint => step.pick(ADDRESSES) + BigInt(step.byte() << 4)
      return join(words([queue, step.byte() < 240 ? 0 : 1]), longs([address(), address(), address(), 0n]))
    }
    if (request === FrontendRequest.SET_LOG_BASE) {
      return longs([BigInt(step.below(64)) << 12n, step.byte() < 200 ? 0n : step.long()])
    }
    if (request === FrontendRequest.SET_DEVICE_STATE_FD) return words([step.below(3), step.byte() < 230 ? 0 : 1])
    if (request === FrontendRequest.SET_MEM_TABLE) {
      const regions = step.below(5)
      while (fds.length < regions) fds.push(this.#memory)
      const table = Array.from({ length: regions }, () => this.#region(step))
      return join(words([step.byte() < 230 ? regions : step.word(), 0]), ...table)
    }
    if (request === FrontendRequest.ADD_MEM_REG || request === FrontendRequest.REM_MEM_REG) {
      return join(longs([0n]), this.#region(step))
    }
    if (request === FrontendRequest.GET_CONFIG || request === FrontendRequest.SET_CONFIG) {
      const size = step.below(64)
      return join(words([step.byte(), step.byte() < 230 ? size : step.word(), 0]), new Uint8Array(size))
    }
    return step.byte() < 230 ? new Uint8Array(0) : step.take(step.below(12))
  }

  #region(step: Script): Uint8Array {
    const guest = step.pick(ADDRESSES) + BigInt(step.below(4) << 12)
    const size = step.pick([0x1000n, 0x10000n, 0n, 1n, 0x10_0000n, 1n << 40n, 1n << 56n, (1n << 64n) - 1n])
    const offset = step.pick([0n, 0x1000n, 0x800n, 0xf_f000n, 0x10_0000n, 1n << 62n])
    return longs([guest, size, guest + step.pick([0n, 0x7000_0000_0000n, 1n << 63n]), offset])
  }
}

function words(values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer)
}

function longs(values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer)
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** @returns request and first payload byte of each reply as a number */
function readReplies(socket: number): number[] {
  const chunks: Uint8Array[] = []
  for (;;) {
    const chunk = new Uint8Array(65536)
    const fds: number[] = []
    const got = receiveWithFds(socket, chunk, 0, chunk.length, fds)
    if (fds.length > 0) throw new Error('a reply with descriptors')
    if (got <= 0) break
    chunks.push(chunk.subarray(0, got))
  }
  const bytes = Buffer.concat(chunks)
  const replies: number[] = []
  for (let at = 0; at < bytes.length; ) {
    if (at + HEADER_BYTES > bytes.length || bytes.readUInt32LE(at + 4) !== 5) throw new Error('a reply without frame')
    const size = bytes.readUInt32LE(at + 8)
    if (at + HEADER_BYTES + size > bytes.length) throw new Error('a reply that is too short')
    replies.push((1 << 24) | (bytes.readUInt32LE(at) << 8) | (size > 0 ? (bytes[at + HEADER_BYTES] ?? 0) : 0))
    at += HEADER_BYTES + size
  }
  return replies
}
