// SPDX-License-Identifier: Apache-2.0
/**
 * A vhost-user frontend that sends what QEMU 11.1 sends, in its order, for `vhost-user-test-device-pci` (virtio-id=26) or
 * for `vhost-user-fs-pci`.
 *
 * One thread does everything, as QEMU's main loop does: while it waits for the reply to a message of its own, it does not
 * serve the backend channel. A daemon that needs that answered first hangs here just as it would there.
 */
import { closeSync } from 'node:fs'
import { testing } from '../../../native/testing/index.ts'
import { PATIENCE } from './daemon.ts'
import type { GuestMemory, MemoryRegion } from './guest-memory.ts'
import { Disconnected, type Message, MessageSocket } from './message-socket.ts'
import { SharedMemoryWindow } from './shared-memory-window.ts'
import {
  BackendRequest,
  Feature,
  Flag,
  packMemoryTable,
  packRegion,
  packU64,
  packVringState,
  ProtocolFeature,
  Request,
} from './vhost-user.ts'
import type { VirtqueueDriver } from './virtqueue-driver.ts'
import { pack, Unpacker } from './wire.ts'

/** Which of QEMU's devices is played. */
export type DeviceKind = 'test-device' | 'fs-pci'

/** What the frontend would like; only what the backend offers is negotiated. */
export interface FrontendOptions {
  readonly device?: DeviceKind
  readonly protocolFeatures?: bigint
  readonly features?: bigint
}

/** Longer than anything may take; only a failing test waits that long. */
export const REPLY_TIMEOUT_MS = 60_000 * PATIENCE

/** What QEMU knows; the slots feature is left out for the test device, whose reset it breaks in 11.1. */
const QEMU_PROTOCOL_FEATURES =
  ProtocolFeature.MQ |
  ProtocolFeature.LOG_SHMFD |
  ProtocolFeature.REPLY_ACK |
  ProtocolFeature.BACKEND_REQ |
  ProtocolFeature.CONFIG |
  ProtocolFeature.BACKEND_SEND_FD |
  ProtocolFeature.RESET_DEVICE |
  ProtocolFeature.CONFIGURE_MEM_SLOTS |
  ProtocolFeature.STATUS |
  ProtocolFeature.DEVICE_STATE |
  ProtocolFeature.SHMEM

/** One connection to a daemon. */
export class Frontend {
  readonly socket: MessageSocket
  readonly device: DeviceKind
  backend: MessageSocket | undefined
  window: SharedMemoryWindow | undefined
  features = 0n
  protocolFeatures = 0n
  offeredFeatures = 0n
  offeredProtocolFeatures = 0n
  queueCount = 1
  memorySlots = 8
  started = false
  /** Messages that the daemon sent on its own, for the window. */
  backendMessages = 0
  /** Called after a SHMEM_MAP or UNMAP was answered and before the memory table follows it. */
  beforeCommit: (() => void) | undefined
  readonly #options: FrontendOptions
  #memory: GuestMemory | undefined
  #queues: readonly VirtqueueDriver[] = []
  /** With slots, what the daemon has stays over stop and reset, as in QEMU. */
  #sentRegions: MemoryRegion[] = []

  constructor(fd: number, options: FrontendOptions = {}) {
    this.socket = new MessageSocket(fd)
    this.#options = options
    this.device = options.device ?? 'test-device'
  }

  has(feature: bigint): boolean {
    return (this.protocolFeatures & feature) !== 0n
  }

  /** Sends a message that has no reply unless NEED_REPLY asks for one. */
  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): void {
    this.socket.send(request, Flag.VERSION, payload, fds)
  }

  /** Sends a message and waits for its reply. */
  ask(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = [], flags = 0): Message {
    this.socket.send(request, Flag.VERSION | flags, payload, fds)
    const reply = this.socket.receive(REPLY_TIMEOUT_MS)
    if (reply === undefined) {
      throw new Error(`no reply to request ${request} within ${REPLY_TIMEOUT_MS} ms`)
    }
    if (reply.request !== request || (reply.flags & Flag.REPLY) === 0 || (reply.flags & 3) !== Flag.VERSION) {
      throw new Error(`request ${request} was answered by ${reply.request}, flags ${reply.flags}`)
    }
    return reply
  }

  askU64(request: number, payload?: Uint8Array): bigint {
    return new Unpacker(this.ask(request, payload).payload).u64()
  }

  /** Sends with NEED_REPLY where REPLY_ACK is negotiated, as QEMU does for what must have happened. */
  sendAcked(request: number, payload: Uint8Array, fds: readonly number[] = []): void {
    if (!this.has(ProtocolFeature.REPLY_ACK)) {
      this.send(request, payload, fds)
      return
    }
    const result = this.acknowledged(request, payload, fds)
    if (result !== 0n) {
      throw new Error(`the daemon refused request ${request}: ${result}`)
    }
  }

  /** Sends with NEED_REPLY; @returns the acknowledgement, 0 for success */
  acknowledged(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): bigint {
    return new Unpacker(this.ask(request, payload, fds, Flag.NEED_REPLY).payload).u64()
  }

  /**
   * From connect to the point where the device waits for its driver: QEMU's realize. The device's own number of queues
   * shows in a call eventfd for each, which is no guest's yet.
   */
  realize(queues = 2): void {
    this.offeredFeatures = this.askU64(Request.GET_FEATURES)
    if ((this.offeredFeatures & Feature.PROTOCOL_FEATURES) !== 0n) {
      this.#negotiateProtocol()
    }
    this.send(Request.SET_OWNER)
    this.offeredFeatures = this.askU64(Request.GET_FEATURES)
    const masked = testing.eventfd()
    for (let index = 0; index < queues; index++) {
      this.send(Request.SET_VRING_CALL, packU64(index), [masked])
    }
    closeSync(masked)
    if (this.device === 'test-device' && this.has(ProtocolFeature.SHMEM)) {
      this.#readSharedMemoryConfig()
    }
  }

  #negotiateProtocol(): void {
    this.offeredProtocolFeatures = this.askU64(Request.GET_PROTOCOL_FEATURES)
    let wanted = this.#options.protocolFeatures ?? QEMU_PROTOCOL_FEATURES
    if (this.device === 'fs-pci') {
      // vhost-user-fs-pci has its tag from the command line.
      wanted &= ~ProtocolFeature.CONFIG
    }
    this.protocolFeatures = this.offeredProtocolFeatures & wanted
    this.send(Request.SET_PROTOCOL_FEATURES, packU64(this.protocolFeatures))
    if (this.has(ProtocolFeature.MQ)) {
      this.queueCount = Number(this.askU64(Request.GET_QUEUE_NUM))
    }
    if (this.has(ProtocolFeature.CONFIGURE_MEM_SLOTS)) {
      this.memorySlots = Math.min(Number(this.askU64(Request.GET_MAX_MEM_SLOTS)), 512)
    }
    if (this.has(ProtocolFeature.BACKEND_REQ)) {
      const [ours, theirs] = testing.socketPair()
      this.sendAcked(Request.SET_BACKEND_REQ_FD, new Uint8Array(0), [theirs])
      closeSync(theirs)
      this.backend = new MessageSocket(ours)
    }
  }

  #readSharedMemoryConfig(): void {
    const reply = new Unpacker(this.ask(Request.GET_SHMEM_CONFIG).payload)
    const count = reply.u32()
    reply.u32()
    const size = reply.number()
    if (count > 0) {
      this.window = new SharedMemoryWindow(size)
    }
  }

  /** @returns the device's configuration space */
  getConfig(offset: number, sizeBytes: number): Uint8Array {
    const payload = pack(['u32', offset], ['u32', sizeBytes], ['u32', 0], new Uint8Array(sizeBytes))
    const reply = this.ask(Request.GET_CONFIG, payload).payload
    return reply.length < 12 ? reply : reply.subarray(12)
  }

  /**
   * The driver has set DRIVER_OK: memory, vrings, enable.
   * @param bases where the rings stand, by queue
   */
  start(
    memory: GuestMemory,
    queues: readonly VirtqueueDriver[],
    features = this.negotiable(),
    bases: readonly number[] = [],
  ): void {
    this.#memory = memory
    this.#queues = queues
    this.features = features
    this.send(Request.SET_FEATURES, packU64(features | (this.offeredFeatures & Feature.PROTOCOL_FEATURES)))
    this.started = true
    this.commitMemory()
    for (const [i, queue] of queues.entries()) {
      this.startVring(queue, bases[i] ?? 0)
    }
    for (const queue of queues) {
      this.sendAcked(Request.SET_VRING_ENABLE, packVringState(queue.index, 1))
    }
    if (this.has(ProtocolFeature.STATUS)) {
      this.sendAcked(Request.SET_STATUS, packU64(0xf))
    }
  }

  /** Features that both sides have. */
  negotiable(): bigint {
    const wanted = this.#options.features ?? Feature.VERSION_1 | Feature.RING_EVENT_IDX | Feature.RING_INDIRECT_DESC
    return this.offeredFeatures & wanted
  }

  /** The messages that make one vring run from `base` on. */
  startVring(queue: VirtqueueDriver, base: number): void {
    const memory = this.#memory
    if (memory === undefined) {
      throw new Error('the device was never started')
    }
    this.send(Request.SET_VRING_NUM, packVringState(queue.index, queue.size))
    this.send(Request.SET_VRING_BASE, packVringState(queue.index, base))
    this.send(
      Request.SET_VRING_ADDR,
      pack(
        ['u32', queue.index],
        ['u32', 0],
        ['u64', memory.userAddress(queue.gpa.descriptors)],
        ['u64', memory.userAddress(queue.gpa.used)],
        ['u64', memory.userAddress(queue.gpa.available)],
        ['u64', 0],
      ),
    )
    this.send(Request.SET_VRING_KICK, packU64(queue.index), [queue.kickFd])
    this.send(Request.SET_VRING_ERR, packU64(queue.index), [queue.errorFd])
    this.send(Request.SET_VRING_CALL, packU64(queue.index), [queue.callFd])
  }

  /** VM stop: the vrings are taken back. @returns what GET_VRING_BASE said, by queue */
  stop(): number[] {
    this.started = false
    const bases: number[] = []
    for (const queue of this.#queues) {
      this.sendAcked(Request.SET_VRING_ENABLE, packVringState(queue.index, 0))
    }
    for (const queue of this.#queues) {
      bases.push(this.getVringBase(queue.index))
    }
    return bases
  }

  getVringBase(index: number): number {
    const reply = new Unpacker(this.ask(Request.GET_VRING_BASE, packVringState(index, 0)).payload)
    reply.u32()
    return reply.u32()
  }

  /** VM cont: the same vrings from where they stopped; the window's mapping has stayed. */
  resume(bases: readonly number[]): void {
    this.started = true
    this.send(Request.SET_FEATURES, packU64(this.features | (this.offeredFeatures & Feature.PROTOCOL_FEATURES)))
    this.commitMemory()
    this.#queues.forEach((queue, i) => {
      this.startVring(queue, bases[i] ?? 0)
    })
    for (const queue of this.#queues) {
      this.sendAcked(Request.SET_VRING_ENABLE, packVringState(queue.index, 1))
    }
  }

  /** Device reset, as at a guest reboot or driver unbind: stops, resets, and drops the window's mappings. */
  reset(): void {
    if (this.started) {
      this.stop()
    }
    if (this.has(ProtocolFeature.STATUS)) {
      this.sendAcked(Request.SET_STATUS, packU64(0))
    }
    if (this.has(ProtocolFeature.RESET_DEVICE)) {
      this.sendAcked(Request.RESET_DEVICE, new Uint8Array(0))
    }
    this.window?.reset()
    for (const queue of this.#queues) {
      queue.reset()
    }
  }

  /** Sends the memory table as it is now: whole, or what changed where slots are configurable. */
  commitMemory(): void {
    if (!this.started || this.#memory === undefined) {
      return
    }
    const regions = [...this.#memory.regions, ...(this.window?.regions ?? [])]
    if (!this.has(ProtocolFeature.CONFIGURE_MEM_SLOTS)) {
      if (regions.length <= 8) {
        this.sendAcked(
          Request.SET_MEM_TABLE,
          packMemoryTable(regions),
          regions.map((region) => region.fd),
        )
      }
      return
    }
    for (const old of this.#sentRegions) {
      if (!regions.some((region) => sameRange(region, old))) {
        this.sendAcked(Request.REM_MEM_REG, pack(['u64', 0], packRegion(old)))
      }
    }
    for (const region of regions) {
      if (!this.#sentRegions.some((old) => sameRange(region, old))) {
        this.sendAcked(Request.ADD_MEM_REG, pack(['u64', 0], packRegion(region)), [region.fd])
      }
    }
    this.#sentRegions = regions
  }

  /** Answers one backend request, if there is one. */
  serveBackend(): void {
    let message: Message | undefined
    try {
      message = this.backend?.receive(0)
    } catch (error) {
      if (error instanceof Disconnected) {
        this.backend?.close()
        this.backend = undefined
        return
      }
      throw error
    }
    if (message === undefined) {
      return
    }
    this.backendMessages++
    if (message.request !== BackendRequest.SHMEM_MAP && message.request !== BackendRequest.SHMEM_UNMAP) {
      throw new Error(`unexpected backend request ${message.request}`)
    }
    if (!this.started) {
      throw new Error('a SHMEM request while the device is stopped: QEMU 11.1 would crash')
    }
    const accepted = this.window?.handle(message) ?? false
    if ((message.flags & Flag.NEED_REPLY) !== 0) {
      this.backend?.reply(message, packU64(accepted ? 0 : 1))
    }
    this.beforeCommit?.()
    if (accepted) {
      this.commitMemory()
    }
  }

  close(): void {
    this.backend?.close()
    this.backend = undefined
    this.socket.close()
    this.window?.reset()
  }
}

function sameRange(a: MemoryRegion, b: MemoryRegion): boolean {
  return a.gpa === b.gpa && a.sizeBytes === b.sizeBytes
}
