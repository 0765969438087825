// SPDX-License-Identifier: Apache-2.0
/**
 * vhost-user messages on the wire: docs/interop/vhost-user.rst, "Message Specification". All fields little-endian.
 *
 * ```
 * 0   u32 request    4   u32 flags (bits 0-1 version, 2 reply, 3 need_reply)    8   u32 size    12  payload
 * ```
 */

/** Requests of the frontend (VHOST_USER_*). */
export const FrontendRequest = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
  GET_SHMEM_CONFIG: 44,
} as const
export type FrontendRequest = (typeof FrontendRequest)[keyof typeof FrontendRequest]

const NAMES = new Map<number, string>(Object.entries(FrontendRequest).map(([name, request]) => [request, name]))

/** "SET_MEM_TABLE" for 5, "request 99" for what we don't know. */
export function requestName(request: number): string {
  return NAMES.get(request) ?? `request ${request}`
}

export const HEADER_BYTES = 12
/** More than the largest message that we accept, a memory table of 255 regions. */
export const MAX_PAYLOAD_BYTES = 8192
const VERSION = 1
const VERSION_MASK = 0x3
const FLAG_REPLY = 1 << 2
const FLAG_NEED_REPLY = 1 << 3
/** Payload of SET_VRING_KICK/CALL/ERR: bits 0-7 are the queue, bit 8 says that no descriptor comes with it. */
const VRING_INDEX_MASK = 0xffn
const VRING_NO_FD = 0x100n
const REGION_BYTES = 32
const CONFIG_HEADER_BYTES = 12
const SHMEM_CONFIG_ENTRIES = 256

/** A fault of the frontend. The message names the request; the connection decides between a nack and a disconnect. */
export class VhostUserError extends Error {
  readonly code: string
  constructor(code: `ERR_VHOST_USER_${string}`, message: string) {
    super(message)
    this.name = 'VhostUserError'
    this.code = code
  }
}

/** A request of the frontend, with what came along. */
export interface Message {
  readonly request: number
  readonly needReply: boolean
  readonly payload: DataView
  /** Descriptors; whoever uses one takes it out of the array, the rest is closed after the request. */
  readonly fds: number[]
}

/** @throws VhostUserError for another version, a reply or an oversized payload */
export function decodeHeader(header: DataView): { request: number; needReply: boolean; payloadBytes: number } {
  const request = header.getUint32(0, true)
  const flags = header.getUint32(4, true)
  const payloadBytes = header.getUint32(8, true)
  if ((flags & VERSION_MASK) !== VERSION) {
    throw new VhostUserError('ERR_VHOST_USER_VERSION', `${requestName(request)}: unknown version in flags ${flags}`)
  }
  if ((flags & FLAG_REPLY) !== 0) {
    throw new VhostUserError('ERR_VHOST_USER_FLAGS', `${requestName(request)}: a reply where a request was due`)
  }
  if (payloadBytes > MAX_PAYLOAD_BYTES) {
    throw new VhostUserError('ERR_VHOST_USER_SIZE', `${requestName(request)}: payload of ${payloadBytes} bytes`)
  }
  return { request, needReply: (flags & FLAG_NEED_REPLY) !== 0, payloadBytes }
}

/** A whole reply message. */
export function encodeReply(request: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, request, true)
  view.setUint32(4, VERSION | FLAG_REPLY, true)
  view.setUint32(8, payload.length, true)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

export function encodeU64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

function expectBytes(message: Message, bytes: number): void {
  if (message.payload.byteLength !== bytes) {
    throw new VhostUserError(
      'ERR_VHOST_USER_SIZE',
      `${requestName(message.request)}: payload of ${message.payload.byteLength} bytes, not ${bytes}`,
    )
  }
}

export function decodeEmpty(message: Message): void {
  expectBytes(message, 0)
}

export function decodeU64(message: Message): bigint {
  expectBytes(message, 8)
  return message.payload.getBigUint64(0, true)
}

/** @throws VhostUserError where there is no such queue */
export function checkQueue(message: Message, index: number, queueCount: number): void {
  if (index >= queueCount) {
    throw new VhostUserError('ERR_VHOST_USER_QUEUE', `${requestName(message.request)}: no queue ${index}`)
  }
}

/** Vring state: `{u32 index; u32 num}`. */
export function decodeVringState(message: Message): { index: number; num: number } {
  expectBytes(message, 8)
  return { index: message.payload.getUint32(0, true), num: message.payload.getUint32(4, true) }
}

export function encodeVringState(index: number, num: number): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, index, true)
  view.setUint32(4, num, true)
  return bytes
}

/** Vring addresses: `{u32 index; u32 flags; u64 descriptor, used, available, log}`; flag 0 asks for logging. */
export function decodeVringAddress(message: Message): {
  index: number
  log: boolean
  descriptor: bigint
  used: bigint
  available: bigint
} {
  expectBytes(message, 40)
  const { payload } = message
  return {
    index: payload.getUint32(0, true),
    log: (payload.getUint32(4, true) & 1) !== 0,
    descriptor: payload.getBigUint64(8, true),
    used: payload.getBigUint64(16, true),
    available: payload.getBigUint64(24, true),
  }
}

/**
 * Queue and descriptor of SET_VRING_KICK, _CALL and _ERR.
 * @returns `fd` -1 where none comes with it; otherwise owned by the caller
 */
export function decodeVringFd(message: Message, queueCount: number): { index: number; fd: number } {
  const value = decodeU64(message)
  const index = Number(value & VRING_INDEX_MASK)
  checkQueue(message, index, queueCount)
  if ((value & VRING_NO_FD) !== 0n) return { index, fd: -1 }
  return { index, fd: takeOneFd(message) }
}

const WITH_VRING_FD: ReadonlySet<number> = new Set([
  FrontendRequest.SET_VRING_KICK,
  FrontendRequest.SET_VRING_CALL,
  FrontendRequest.SET_VRING_ERR,
])
/** Requests that descriptors come with. */
export const WITH_FDS: ReadonlySet<number> = new Set([
  ...WITH_VRING_FD,
  FrontendRequest.SET_MEM_TABLE,
  FrontendRequest.SET_LOG_BASE,
  FrontendRequest.SET_LOG_FD,
  FrontendRequest.SET_DEVICE_STATE_FD,
  FrontendRequest.SET_BACKEND_REQ_FD,
  FrontendRequest.ADD_MEM_REG,
  FrontendRequest.REM_MEM_REG,
])

/** Whether this message has descriptors by what it says itself. @param message its bytes, header and all */
export function bringsFds(request: number, message: DataView): boolean {
  if (!WITH_VRING_FD.has(request) || message.byteLength < HEADER_BYTES + 8) return WITH_FDS.has(request)
  return (message.getBigUint64(HEADER_BYTES, true) & VRING_NO_FD) === 0n
}

/** The request's single descriptor, owned by the caller. */
export function takeOneFd(message: Message): number {
  const fd = message.fds.length === 1 ? message.fds.pop() : undefined
  if (fd === undefined) {
    throw new VhostUserError(
      'ERR_VHOST_USER_FD_COUNT',
      `${requestName(message.request)}: ${message.fds.length} descriptors, not 1`,
    )
  }
  return fd
}

/**
 * Memory table: `{u32 count; u32 padding}` and per region `{u64 guest address, size, user address, mmap offset}`.
 * @returns the numbers of all regions, 4 each
 */
export function decodeMemoryTable(message: Message): BigUint64Array {
  const { payload } = message
  if (payload.byteLength < 8) expectBytes(message, 8)
  const count = payload.getUint32(0, true)
  if (count > MAX_PAYLOAD_BYTES / REGION_BYTES) expectBytes(message, MAX_PAYLOAD_BYTES)
  expectBytes(message, 8 + count * REGION_BYTES)
  if (message.fds.length !== count) {
    throw new VhostUserError(
      'ERR_VHOST_USER_FD_COUNT',
      `SET_MEM_TABLE: ${message.fds.length} descriptors for ${count} regions`,
    )
  }
  return readU64s(payload, 8, count * 4)
}

/** Single memory region: `{u64 padding}` and one region as above. */
export function decodeMemoryRegion(message: Message): BigUint64Array {
  expectBytes(message, 8 + REGION_BYTES)
  return readU64s(message.payload, 8, 4)
}

function readU64s(view: DataView, offset: number, count: number): BigUint64Array {
  const numbers = new BigUint64Array(count)
  for (let i = 0; i < count; i++) numbers[i] = view.getBigUint64(offset + 8 * i, true)
  return numbers
}

/** Log description: `{u64 size; u64 offset}`, bytes. */
export function decodeLog(message: Message): BigUint64Array {
  expectBytes(message, 16)
  return readU64s(message.payload, 0, 2)
}

/** Device state transfer parameters: `{u32 direction (0 save, 1 load); u32 phase (0 stopped)}`. */
export function decodeStateTransfer(message: Message): { load: boolean } {
  expectBytes(message, 8)
  const direction = message.payload.getUint32(0, true)
  const phase = message.payload.getUint32(4, true)
  if (direction > 1 || phase !== 0) {
    throw new VhostUserError(
      'ERR_VHOST_USER_STATE',
      `SET_DEVICE_STATE_FD: neither to save nor to load in a phase that there is: ${direction}, ${phase}`,
    )
  }
  return { load: direction === 1 }
}

/** Device configuration space: `{u32 offset; u32 size; u32 flags; u8 region[size]}`. */
export function decodeConfig(message: Message): { offset: number; size: number } {
  const { payload } = message
  if (payload.byteLength < CONFIG_HEADER_BYTES) expectBytes(message, CONFIG_HEADER_BYTES)
  const size = payload.getUint32(4, true)
  expectBytes(message, CONFIG_HEADER_BYTES + size)
  return { offset: payload.getUint32(0, true), size }
}

/** The reply to GET_CONFIG; no bytes at all tell the frontend that the read was bad. */
export function encodeConfig(offset: number, region: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CONFIG_HEADER_BYTES + region.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, offset, true)
  view.setUint32(4, region.length, true)
  bytes.set(region, CONFIG_HEADER_BYTES)
  return bytes
}

/** The reply to GET_SHMEM_CONFIG: `{u32 count; u32 padding; u64 sizes[256]}`, here with at most region 0. */
export function encodeShmemConfig(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(8 + 8 * SHMEM_CONFIG_ENTRIES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, sizeBytes > 0 ? 1 : 0, true)
  view.setBigUint64(8, BigInt(sizeBytes), true)
  return bytes
}
