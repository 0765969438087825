// SPDX-License-Identifier: Apache-2.0
/** Feature bits of virtio (virtio 1.3, section 6) and of vhost-user's own protocol. */

export const VirtioFeature = {
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  /** VHOST_USER_F_PROTOCOL_FEATURES: the frontend may ask for the second set. */
  VHOST_USER_PROTOCOL_FEATURES: 30,
  VERSION_1: 32,
} as const

/** VHOST_USER_PROTOCOL_F_*. */
export const VhostUserProtocolFeature = {
  MQ: 0,
  REPLY_ACK: 3,
  BACKEND_REQ: 5,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  RESET_DEVICE: 13,
  CONFIGURE_MEM_SLOTS: 15,
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
  VirtioFeature.RING_INDIRECT_DESC,
  VirtioFeature.RING_EVENT_IDX,
  VirtioFeature.VHOST_USER_PROTOCOL_FEATURES,
  VirtioFeature.VERSION_1,
)

/** What a window needs of the frontend: to be asked for mappings, with descriptors, and to answer. */
export const WINDOW_PROTOCOL_FEATURES = ['SHMEM', 'BACKEND_REQ', 'BACKEND_SEND_FD', 'REPLY_ACK'] as const

/** What decides which protocol features are offered. */
export interface OfferedParts {
  readonly window: boolean
  /**
   * CONFIGURE_MEM_SLOTS. QEMU 11.1.3 crashes with it on vhost-user-test-device-pci when the guest rebinds its driver or
   * reboots, but without it it can't announce more than 8 regions of memory, so only a window that the frontend maps
   * range by range justifies it.
   */
  readonly memorySlots: boolean
  /**
   * The configuration space, which has the tag. QEMU's vhost-user-fs devices have their own, and QEMU 7.1 to 8.0 crash
   * when it is offered.
   */
  readonly config: boolean
}

export function offeredProtocolFeatures(parts: OfferedParts): bigint {
  const F = VhostUserProtocolFeature
  let mask = featureMask(F.MQ, F.REPLY_ACK, F.RESET_DEVICE, F.BACKEND_REQ, F.BACKEND_SEND_FD)
  if (parts.config) mask |= featureMask(F.CONFIG)
  if (parts.window) mask |= featureMask(F.SHMEM)
  if (parts.memorySlots) mask |= featureMask(F.CONFIGURE_MEM_SLOTS)
  return mask
}

/** The names of window features that are missing from a negotiated mask. */
export function missingWindowFeatures(acked: bigint): string[] {
  return WINDOW_PROTOCOL_FEATURES.filter((name) => !hasFeature(acked, VhostUserProtocolFeature[name]))
}
