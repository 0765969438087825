// SPDX-License-Identifier: Apache-2.0
/** struct virtio_fs_config (virtio 1.3, section 5.11.4): `{u8 tag[36]; le32 num_request_queues}`. */

export const TAG_BYTES = 36

/**
 * The configuration space.
 * @param tag 1 to 36 bytes of UTF-8
 */
export function encodeVirtioFsConfig(tag: string, requestQueues: number): Uint8Array {
  const bytes = new Uint8Array(TAG_BYTES + 4)
  bytes.set(new TextEncoder().encode(tag).subarray(0, TAG_BYTES))
  new DataView(bytes.buffer).setUint32(TAG_BYTES, requestQueues, true)
  return bytes
}

/** `size` bytes from `offset`; what lies beyond the structure reads as zero (fields of later versions). */
export function readConfig(config: Uint8Array, offset: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  bytes.set(config.subarray(offset, offset + size))
  return bytes
}
