// SPDX-License-Identifier: Apache-2.0
/**
 * Small pieces of the FUSE wire format that more than one request needs: 64-bit integers, names, reply bodies.
 *
 * A u64 is a JavaScript number here. Those that this server made itself (nodeid, fh) are below 2^53 and exact; a
 * foreign one above that is rounded, so it can never equal one of ours, and whoever takes an offset or a size checks
 * it with `isSafeOffset`.
 */
import { Errno } from '../errno.ts'

const TWO_TO_32 = 4294967296

export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * TWO_TO_32
}

export function getI64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * TWO_TO_32
}

/** `value`: an integer from -2^53 to 2^53; negative ones are stored as two's complement. */
export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % TWO_TO_32, true)
  view.setInt32(offset + 4, Math.floor(value / TWO_TO_32), true)
}

/** Whether a decoded u64 is an exact number of bytes, at most 2^53 - 1. */
export function isSafeOffset(value: number): boolean {
  return value <= Number.MAX_SAFE_INTEGER
}

/** A run of bytes in the request buffer: a file name, a symlink's target, an xattr's value. Valid until the reply. */
export class WireBytes {
  bytes: Uint8Array = new Uint8Array(0)
  offset = 0
  length = 0

  set(bytes: Uint8Array, offset: number, length: number): void {
    this.bytes = bytes
    this.offset = offset
    this.length = length
  }

  /** A copy, for tests and messages. */
  copy(): Uint8Array {
    return this.bytes.slice(this.offset, this.offset + this.length)
  }
}

/**
 * The body of the reply: what follows struct fuse_out_header. `capacity` bytes may be written from `offset` on, in
 * `view` and `bytes` alike.
 */
export class ReplyBody {
  view: DataView = new DataView(new ArrayBuffer(0))
  bytes: Uint8Array = new Uint8Array(0)
  offset = 0
  capacity = 0
}

/** NAME_MAX of Linux. */
export const NAME_MAX = 255

const SLASH = 0x2f
const DOT = 0x2e

/**
 * Takes one path component, NUL-terminated, from `start`.
 * @returns the position after the NUL, or `-EINVAL` (no NUL before `end`, empty, ".", "..", a slash) or `-ENAMETOOLONG`
 */
export function decodeComponent(bytes: Uint8Array, start: number, end: number, name: WireBytes): number {
  let position = start
  for (; ; position++) {
    if (position >= end) return -Errno.EINVAL
    const byte = bytes[position]
    if (byte === 0) break
    if (byte === SLASH) return -Errno.EINVAL
  }
  const length = position - start
  if (length > NAME_MAX) return -Errno.ENAMETOOLONG
  if (length === 0) return -Errno.EINVAL
  if (bytes[start] === DOT && (length === 1 || (length === 2 && bytes[start + 1] === DOT))) return -Errno.EINVAL
  name.set(bytes, start, length)
  return position + 1
}

/**
 * Takes a NUL-terminated string of 1 to `maximum` bytes of any kind from `start`.
 * @returns the position after the NUL, or `-EINVAL`, or `tooLong` as `-errno`
 */
export function decodeString(
  bytes: Uint8Array,
  start: number,
  end: number,
  maximum: number,
  tooLong: number,
  string: WireBytes,
): number {
  let position = start
  for (; ; position++) {
    if (position >= end) return -Errno.EINVAL
    if (bytes[position] === 0) break
  }
  const length = position - start
  if (length === 0) return -Errno.EINVAL
  if (length > maximum) return -tooLong
  string.set(bytes, start, length)
  return position + 1
}
