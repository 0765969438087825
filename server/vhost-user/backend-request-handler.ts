// SPDX-License-Identifier: Apache-2.0
/**
 * What the backend does on each request of the frontend: one method per message, named after it. The order of QEMU's
 * messages over the life of a device is in doc/vhost-user.md.
 */
import type { VirtioDevice } from '../virtio/device.ts'
import { encodeVirtioFsConfig, readConfig } from '../virtio/virtio-fs-config.ts'
import type { MessageHandler } from './connection.ts'
import { hasFeature, OFFERED_VIRTIO_FEATURES, VhostUserProtocolFeature, VirtioFeature } from './features.ts'
import {
  checkQueue,
  decodeConfig,
  decodeEmpty,
  decodeLog,
  decodeMemoryRegion,
  decodeMemoryTable,
  decodeStateTransfer,
  decodeU64,
  decodeVringAddress,
  decodeVringFd,
  decodeVringState,
  encodeConfig,
  encodeShmemConfig,
  encodeU64,
  encodeVringState,
  FrontendRequest,
  type Message,
  requestName,
  takeOneFd,
  VhostUserError,
  WITH_FDS,
} from './message.ts'

/** Memory regions that a frontend may set up one by one; QEMU takes up to 512. */
const MAX_MEM_SLOTS = 509n

/** What the handler tells the rest of the daemon. */
export interface BackendEvents {
  /** The frontend has chosen its protocol features. */
  protocolFeaturesSet(features: bigint): void
  /** The frontend wants to know how large the window is: its device can have one. */
  windowAsked(): void
  /** The frontend uses this queue, which must have its thread from now on. */
  queueUsed(queue: number): void
  /** A ring is about to go on where it has been stopped, perhaps by another daemon. */
  ringContinues(): void
  /** The first ring is about to start. */
  deviceStarting(): void
  /** The device is back in its initial state; all rings are stopped. */
  deviceReset(): void
}

/** Moves the device's state through a pipe, while the device is stopped. */
export interface StateTransfer {
  /**
   * Begins to.
   * @param fd the pipe's end; is owned by the transfer from now on
   * @returns false where the device is not in a state to
   */
  begin(load: boolean, fd: number): boolean
  /** @returns whether the transfer that has been begun last has succeeded; waits for it */
  result(): Promise<boolean>
}

export interface BackendOptions {
  readonly tag: string
  readonly protocolFeatures: bigint
  /** Bytes; 0: no window is offered. */
  readonly windowSize: number
}

/** The reply to SET_DEVICE_STATE_FD: bits 0-7 are an error; bit 8 says that the frontend's descriptor is used, and none comes back. */
const STATE_OWN_FD = 0x100n
const STATE_REFUSED = 1n

/** What it has learnt from the frontend. */
export interface BackendState {
  /** Those that the frontend has chosen. */
  readonly protocolFeatures: bigint
  /** The highest queue that it has mentioned. */
  readonly lastQueue: number
}

/** What a server before this one was told. */
export interface LeftBackendState extends BackendState {
  /** VHOST_F_LOG_ALL is on, as while the guest is being migrated. */
  readonly logs: boolean
}

type Reply = Promise<Uint8Array | undefined> | Uint8Array | undefined

export class BackendRequestHandler implements MessageHandler {
  readonly #device: VirtioDevice
  readonly #options: BackendOptions
  readonly #events: BackendEvents
  readonly #state: StateTransfer
  readonly #handlers: ReadonlyMap<number, (message: Message) => Reply>
  #protocolFeatures = 0n
  /** See LeftBackendState. */
  #logs = false
  /** The highest queue that the frontend has mentioned. */
  #lastQueue = 0

  /** @param left what a predecessor of this process had learnt from the frontend */
  constructor(
    device: VirtioDevice,
    options: BackendOptions,
    events: BackendEvents,
    state: StateTransfer,
    left?: LeftBackendState,
  ) {
    this.#device = device
    this.#protocolFeatures = left?.protocolFeatures ?? 0n
    this.#lastQueue = left?.lastQueue ?? 0
    this.#logs = left?.logs ?? false
    this.#options = options
    this.#events = events
    this.#state = state
    const R = FrontendRequest
    const handlers: [number, (message: Message) => Reply][] = [
      [R.GET_FEATURES, (message) => this.handleGetFeatures(message)],
      [R.SET_FEATURES, (message) => this.handleSetFeatures(message)],
      [R.SET_OWNER, (message) => this.handleSetOwner(message)],
      [R.RESET_OWNER, (message) => this.handleResetOwner(message)],
      [R.SET_MEM_TABLE, (message) => this.handleSetMemTable(message)],
      [R.SET_LOG_BASE, (message) => this.handleSetLogBase(message)],
      [R.SET_LOG_FD, (message) => this.handleSetLogFd(message)],
      [R.SET_VRING_NUM, (message) => this.handleSetVringNum(message)],
      [R.SET_VRING_ADDR, (message) => this.handleSetVringAddr(message)],
      [R.SET_VRING_BASE, (message) => this.handleSetVringBase(message)],
      [R.GET_VRING_BASE, (message) => this.handleGetVringBase(message)],
      [R.SET_VRING_KICK, (message) => this.handleSetVringKick(message)],
      [R.SET_VRING_CALL, (message) => this.handleSetVringCall(message)],
      [R.SET_VRING_ERR, (message) => this.handleSetVringErr(message)],
      [R.GET_PROTOCOL_FEATURES, (message) => this.handleGetProtocolFeatures(message)],
      [R.SET_PROTOCOL_FEATURES, (message) => this.handleSetProtocolFeatures(message)],
      [R.GET_QUEUE_NUM, (message) => this.handleGetQueueNum(message)],
      [R.SET_VRING_ENABLE, (message) => this.handleSetVringEnable(message)],
      [R.SET_BACKEND_REQ_FD, (message) => this.handleSetBackendReqFd(message)],
      [R.GET_CONFIG, (message) => this.handleGetConfig(message)],
      [R.SET_CONFIG, (message) => this.handleSetConfig(message)],
      [R.RESET_DEVICE, (message) => this.handleResetDevice(message)],
      [R.GET_MAX_MEM_SLOTS, (message) => this.handleGetMaxMemSlots(message)],
      [R.ADD_MEM_REG, (message) => this.handleAddMemReg(message)],
      [R.REM_MEM_REG, (message) => this.handleRemMemReg(message)],
      [R.SET_DEVICE_STATE_FD, (message) => this.handleSetDeviceStateFd(message)],
      [R.CHECK_DEVICE_STATE, (message) => this.handleCheckDeviceState(message)],
      [R.GET_SHMEM_CONFIG, (message) => this.handleGetShmemConfig(message)],
    ]
    this.#handlers = new Map(handlers)
  }

  get state(): BackendState {
    return { protocolFeatures: this.#protocolFeatures, lastQueue: this.#lastQueue }
  }

  get replyAck(): boolean {
    return hasFeature(this.#protocolFeatures, VhostUserProtocolFeature.REPLY_ACK)
  }

  handle(message: Message): Reply {
    const handler = this.#handlers.get(message.request)
    if (handler === undefined) {
      throw new VhostUserError('ERR_VHOST_USER_REQUEST', `${requestName(message.request)} is not supported`)
    }
    if (message.fds.length > 0 && !WITH_FDS.has(message.request)) {
      throw new VhostUserError(
        'ERR_VHOST_USER_FD_COUNT',
        `${requestName(message.request)}: ${message.fds.length} descriptors, not 0`,
      )
    }
    try {
      return handler(message)
    } catch (error) {
      // The native device checks numbers and descriptors; what it refuses is the frontend's fault.
      if (error instanceof VhostUserError) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new VhostUserError('ERR_VHOST_USER_ARGUMENT', `${requestName(message.request)}: ${reason}`)
    }
  }

  handleGetFeatures(message: Message): Reply {
    decodeEmpty(message)
    return encodeU64(OFFERED_VIRTIO_FEATURES)
  }

  handleSetFeatures(message: Message): Reply {
    const features = decodeU64(message)
    const unknown = features & ~OFFERED_VIRTIO_FEATURES
    if (unknown !== 0n) {
      throw new VhostUserError(
        'ERR_VHOST_USER_FEATURES',
        `SET_FEATURES: 0x${unknown.toString(16)} has not been offered`,
      )
    }
    this.#device.control.setFeatures(
      hasFeature(features, VirtioFeature.RING_EVENT_IDX),
      hasFeature(features, VirtioFeature.RING_INDIRECT_DESC),
      // Without protocol features there is no SET_VRING_ENABLE.
      !hasFeature(features, VirtioFeature.VHOST_USER_PROTOCOL_FEATURES),
    )
    this.#logs = hasFeature(features, VirtioFeature.LOG_ALL)
    this.#device.control.setDirtyLogging(this.#logs)
    return undefined
  }

  handleSetOwner(message: Message): Reply {
    decodeEmpty(message)
    return undefined
  }

  /** Deprecated; the specification suggests to do nothing but disable the rings. */
  async handleResetOwner(message: Message): Promise<undefined> {
    decodeEmpty(message)
    await this.#device.stopAllQueues()
  }

  handleSetMemTable(message: Message): Reply {
    this.#device.control.setMemoryTable(decodeMemoryTable(message), message.fds)
    return undefined
  }

  /** Answers when nothing is marked in the log before any more. */
  handleSetLogBase(message: Message): Reply {
    const log = decodeLog(message)
    const fd = message.fds[0]
    if (fd === undefined || message.fds.length !== 1) {
      throw new VhostUserError('ERR_VHOST_USER_FD_COUNT', `SET_LOG_BASE: ${message.fds.length} descriptors, not 1`)
    }
    this.#device.control.setLogBase(fd, log)
    return encodeU64(0n)
  }

  handleSetLogFd(message: Message): Reply {
    decodeEmpty(message)
    this.#device.control.setLogSignal(takeOneFd(message))
    return undefined
  }

  handleSetVringNum(message: Message): Reply {
    const { index, num } = decodeVringState(message)
    this.#device.control.setVringSize(index, num)
    this.#events.queueUsed(index)
    return undefined
  }

  handleSetVringAddr(message: Message): Reply {
    const { index, log, descriptor, available, used } = decodeVringAddress(message)
    // The used ring is marked like all else, at the address that it has in the memory table.
    if (log && !this.#logs)
      throw new VhostUserError('ERR_VHOST_USER_LOG', 'SET_VRING_ADDR: dirty logging was not negotiated')
    this.#device.control.setVringAddresses(index, BigUint64Array.of(descriptor, available, used))
    return undefined
  }

  handleSetVringBase(message: Message): Reply {
    const { index, num } = decodeVringState(message)
    this.#device.control.setVringBase(index, num)
    if (num !== 0) this.#events.ringContinues()
    return undefined
  }

  /** Answers when the request that is being served has been completed. */
  async handleGetVringBase(message: Message): Promise<Uint8Array> {
    const { index } = decodeVringState(message)
    checkQueue(message, index, this.#device.queueCount)
    return encodeVringState(index, await this.#device.stopQueue(index))
  }

  handleSetVringKick(message: Message): Reply {
    const { index, fd } = decodeVringFd(message, this.#device.queueCount)
    if (fd < 0) {
      throw new VhostUserError('ERR_VHOST_USER_POLLING', 'SET_VRING_KICK: polling without a kick is not supported')
    }
    if (this.#device.runningQueues === 0) this.#events.deviceStarting()
    this.#device.startQueue(index, fd)
    return undefined
  }

  handleSetVringCall(message: Message): Reply {
    const { index, fd } = decodeVringFd(message, this.#device.queueCount)
    this.#lastQueue = Math.max(this.#lastQueue, index)
    this.#device.control.setVringCall(index, fd)
    return undefined
  }

  handleSetVringErr(message: Message): Reply {
    const { index, fd } = decodeVringFd(message, this.#device.queueCount)
    this.#device.control.setVringError(index, fd)
    return undefined
  }

  handleGetProtocolFeatures(message: Message): Reply {
    decodeEmpty(message)
    return encodeU64(this.#options.protocolFeatures)
  }

  handleSetProtocolFeatures(message: Message): Reply {
    const features = decodeU64(message)
    const unknown = features & ~this.#options.protocolFeatures
    if (unknown !== 0n) {
      throw new VhostUserError(
        'ERR_VHOST_USER_FEATURES',
        `SET_PROTOCOL_FEATURES: 0x${unknown.toString(16)} has not been offered`,
      )
    }
    this.#protocolFeatures = features
    this.#events.protocolFeaturesSet(features)
    return undefined
  }

  handleGetQueueNum(message: Message): Reply {
    decodeEmpty(message)
    return encodeU64(BigInt(this.#device.queueCount))
  }

  handleSetVringEnable(message: Message): Reply {
    const { index, num } = decodeVringState(message)
    if (num > 1) throw new VhostUserError('ERR_VHOST_USER_ARGUMENT', `SET_VRING_ENABLE: neither 0 nor 1: ${num}`)
    this.#device.control.setVringEnabled(index, num === 1)
    return undefined
  }

  handleSetBackendReqFd(message: Message): Reply {
    this.#device.control.setBackendSocket(takeOneFd(message))
    return undefined
  }

  handleGetConfig(message: Message): Reply {
    const { offset, size } = decodeConfig(message)
    if (offset + size > 256) return encodeConfig(offset, new Uint8Array(0))
    // A driver wants as many queues as this says. QEMU's device has as many as its own command line says, and tells us by
    // a SET_VRING_CALL for each before the guest runs.
    const lastQueue = this.#lastQueue > 0 ? this.#lastQueue : this.#device.queueCount - 1
    const config = encodeVirtioFsConfig(this.#options.tag, lastQueue)
    return encodeConfig(offset, readConfig(config, offset, size))
  }

  /** Nothing in it can be written. */
  handleSetConfig(message: Message): Reply {
    decodeConfig(message)
    throw new VhostUserError('ERR_VHOST_USER_CONFIG', 'SET_CONFIG: the configuration space is read-only')
  }

  async handleResetDevice(message: Message): Promise<undefined> {
    decodeEmpty(message)
    await this.#device.stopAllQueues()
    this.#events.deviceReset()
  }

  handleGetMaxMemSlots(message: Message): Reply {
    decodeEmpty(message)
    return encodeU64(MAX_MEM_SLOTS)
  }

  handleAddMemReg(message: Message): Reply {
    const region = decodeMemoryRegion(message)
    const fd = message.fds[0]
    if (fd === undefined || message.fds.length !== 1) {
      throw new VhostUserError('ERR_VHOST_USER_FD_COUNT', `ADD_MEM_REG: ${message.fds.length} descriptors, not 1`)
    }
    if (this.#device.control.counters().memoryRegions >= MAX_MEM_SLOTS) {
      throw new VhostUserError('ERR_VHOST_USER_SLOTS', `ADD_MEM_REG: more than ${MAX_MEM_SLOTS} regions`)
    }
    this.#device.control.addRegion(region, fd)
    return undefined
  }

  /** QEMU sends a descriptor along; the specification asks for it to be ignored. */
  handleRemMemReg(message: Message): Reply {
    this.#device.control.removeRegion(decodeMemoryRegion(message))
    return undefined
  }

  /** The transfer goes on beside the messages; CHECK_DEVICE_STATE waits for its end. */
  handleSetDeviceStateFd(message: Message): Reply {
    const { load } = decodeStateTransfer(message)
    if (!hasFeature(this.#protocolFeatures, VhostUserProtocolFeature.DEVICE_STATE))
      throw new VhostUserError('ERR_VHOST_USER_STATE', 'SET_DEVICE_STATE_FD: DEVICE_STATE was not negotiated')
    const fd = takeOneFd(message)
    return encodeU64(this.#state.begin(load, fd) ? STATE_OWN_FD : STATE_OWN_FD | STATE_REFUSED)
  }

  async handleCheckDeviceState(message: Message): Promise<Uint8Array> {
    decodeEmpty(message)
    return encodeU64((await this.#state.result()) ? 0n : 1n)
  }

  handleGetShmemConfig(message: Message): Reply {
    decodeEmpty(message)
    this.#events.windowAsked()
    return encodeShmemConfig(this.#options.windowSize)
  }
}
