// SPDX-License-Identifier: Apache-2.0
/** Feature bits of virtio (virtio 1.3, section 6) and of vhost-user's own protocol. */

export const VirtioFeature = {
  /** VHOST_F_LOG_ALL: what the device writes to the guest's memory is marked in a log. */
  LOG_ALL: 26,
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  /** VHOST_USER_F_PROTOCOL_FEATURES: the frontend may ask for the second set. */
  VHOST_USER_PROTOCOL_FEATURES: 30,
  VERSION_1: 32,
} as const

/** VHOST_USER_PROTOCOL_F_*. */
export const VhostUserProtocolFeature = {
  MQ: 0,
  LOG_SHMFD: 1,
  REPLY_ACK: 3,
  BACKEND_REQ: 5,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  RESET_DEVICE: 13,
  CONFIGURE_MEM_SLOTS: 15,
  DEVICE_STATE: 19,
  SHMEM: 22,
} as const

/** The mask with exactly these bits. */
export function featureMask(...bits: readonly number[]): bigint {
  return bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)
}

export function hasFeature(mask: bigint, bit: number): boolean {
  return ((mask >> BigInt(bit)) & 1n) !== 0n
}

/** The virtio features that viewfsd offers. */
export const OFFERED_VIRTIO_FEATURES: bigint = featureMask(
  VirtioFeature.LOG_ALL,
  VirtioFeature.RING_INDIRECT_DESC,
  VirtioFeature.RING_EVENT_IDX,
  VirtioFeature.VHOST_USER_PROTOCOL_FEATURES,
  VirtioFeature.VERSION_1,
)

/** What a window needs of the frontend: to be asked for mappings, with descriptors, and to answer. */
export const WINDOW_PROTOCOL_FEATURES = ['SHMEM', 'BACKEND_REQ', 'BACKEND_SEND_FD', 'REPLY_ACK'] as const

/** What decides which protocol features are offered. */
export interface OfferedParts {
  readonly window: 'memory-view' | 'shmem' | 'none'
  /** CONFIGURE_MEM_SLOTS, without which QEMU can't announce more than 8 regions of memory. */
  readonly memorySlots: 'auto' | 'on' | 'off'
  /**
   * The configuration space, which has the tag. QEMU's vhost-user-fs devices have their own, and QEMU 7.1 to 8.0 crash
   * when it is offered.
   */
  readonly config: boolean
  /** The device's state can be saved, and loaded elsewhere. */
  readonly deviceState: boolean
}

/**
 * Whether the frontend's device may be one that `auto` can't offer CONFIGURE_MEM_SLOTS: with it, QEMU 11.1.3 crashes when
 * the guest of a vhost-user-test-device-pci that has shown its window rebinds its driver or reboots. QEMU's devices all
 * ask the same until they have got the answer, but that one starts only where the configuration space is offered, and
 * vhost-user-fs-pci can do without. (A shmem window needs a region for each of its ranges.)
 */
export function mayBeTestDevice(parts: OfferedParts): boolean {
  return parts.window === 'memory-view' && parts.config
}

export function offeredProtocolFeatures(parts: OfferedParts): bigint {
  const F = VhostUserProtocolFeature
  const memorySlots = parts.memorySlots === 'auto' ? !mayBeTestDevice(parts) : parts.memorySlots === 'on'
  let mask = featureMask(F.MQ, F.REPLY_ACK, F.RESET_DEVICE, F.BACKEND_REQ, F.BACKEND_SEND_FD, F.LOG_SHMFD)
  if (parts.deviceState) mask |= featureMask(F.DEVICE_STATE)
  if (parts.config) mask |= featureMask(F.CONFIG)
  if (parts.window !== 'none') mask |= featureMask(F.SHMEM)
  if (memorySlots) mask |= featureMask(F.CONFIGURE_MEM_SLOTS)
  return mask
}

/** Whether the frontend turned out to be vhost-user-fs, and the configuration space alone has kept it from announcing much memory. */
export function lacksMemorySlots(parts: OfferedParts, acked: bigint): boolean {
  const F = VhostUserProtocolFeature
  return parts.memorySlots === 'auto' && mayBeTestDevice(parts) && !hasFeature(acked, F.CONFIG)
}

/** The names of window features that are missing from a negotiated mask. */
export function missingWindowFeatures(acked: bigint): string[] {
  return WINDOW_PROTOCOL_FEATURES.filter((name) => !hasFeature(acked, VhostUserProtocolFeature[name]))
}
