// SPDX-License-Identifier: Apache-2.0
/** The numbers and layouts of vhost-user as a frontend needs them (QEMU's docs/interop/vhost-user.rst). */
import { type MemoryRegion } from './guest-memory.ts'
import { pack } from './wire.ts'

/** Requests of the frontend. */
export const Request = {
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

/** Requests of the backend. */
export const BackendRequest = { SHMEM_MAP: 9, SHMEM_UNMAP: 10 } as const

/** Bits of GET_PROTOCOL_FEATURES. */
export const ProtocolFeature = {
  MQ: 1n << 0n,
  LOG_SHMFD: 1n << 1n,
  REPLY_ACK: 1n << 3n,
  BACKEND_REQ: 1n << 5n,
  CONFIG: 1n << 9n,
  BACKEND_SEND_FD: 1n << 10n,
  INFLIGHT_SHMFD: 1n << 12n,
  RESET_DEVICE: 1n << 13n,
  CONFIGURE_MEM_SLOTS: 1n << 15n,
  STATUS: 1n << 16n,
  DEVICE_STATE: 1n << 19n,
  SHMEM: 1n << 22n,
} as const

/** Bits of GET_FEATURES that the harness negotiates. */
export const Feature = {
  LOG_ALL: 1n << 26n,
  RING_INDIRECT_DESC: 1n << 28n,
  RING_EVENT_IDX: 1n << 29n,
  PROTOCOL_FEATURES: 1n << 30n,
  VERSION_1: 1n << 32n,
} as const

/** Header: { u32 request, u32 flags, u32 size }. */
export const HEADER_BYTES = 12
export const Flag = { VERSION: 1, REPLY: 4, NEED_REPLY: 8 } as const

/** { u64 gpa, u64 size, u64 user address, u64 mmap offset } */
export function packRegion(region: MemoryRegion): Uint8Array {
  return pack(['u64', region.gpa], ['u64', region.sizeBytes], ['u64', region.userAddress], ['u64', region.fdOffset])
}

/** { u32 regions, u32 pad, region[] } */
export function packMemoryTable(regions: readonly MemoryRegion[]): Uint8Array {
  return pack(['u32', regions.length], ['u32', 0], ...regions.map(packRegion))
}

/** { u32 index, u32 num } */
export function packVringState(index: number, value: number): Uint8Array {
  return pack(['u32', index], ['u32', value])
}

export function packU64(value: number | bigint): Uint8Array {
  return pack(['u64', value])
}
