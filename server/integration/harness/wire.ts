// SPDX-License-Identifier: Apache-2.0
/**
 * Little-endian packing for the harness. Written for the tests alone, so that an error in the daemon's own codecs can't
 * hide in code that both sides share.
 */

/** One field: its width and value. Numbers must be exact; anything else is a bigint. */
export type Field = readonly ['u8' | 'u16' | 'u32' | 'u64' | 'i32', number | bigint] | Uint8Array

/** Packs fields without any padding between them. */
export function pack(...fields: readonly Field[]): Uint8Array {
  let length = 0
  for (const field of fields) {
    length += field instanceof Uint8Array ? field.length : width(field[0])
  }
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const field of fields) {
    if (field instanceof Uint8Array) {
      bytes.set(field, offset)
      offset += field.length
      continue
    }
    const [kind, value] = field
    if (kind === 'u64') {
      view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true)
    } else if (kind === 'u32') {
      view.setUint32(offset, Number(value), true)
    } else if (kind === 'i32') {
      view.setInt32(offset, Number(value), true)
    } else if (kind === 'u16') {
      view.setUint16(offset, Number(value), true)
    } else {
      view.setUint8(offset, Number(value))
    }
    offset += width(kind)
  }
  return bytes
}

function width(kind: 'u8' | 'u16' | 'u32' | 'u64' | 'i32'): number {
  return kind === 'u64' ? 8 : kind === 'u16' ? 2 : kind === 'u8' ? 1 : 4
}

/** Reads fields one after the other; throws a RangeError past the end. */
export class Unpacker {
  readonly bytes: Uint8Array
  offset = 0
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.bytes.length - this.offset
  }

  u16(): number {
    this.offset += 2
    return this.#view.getUint16(this.offset - 2, true)
  }

  u32(): number {
    this.offset += 4
    return this.#view.getUint32(this.offset - 4, true)
  }

  i32(): number {
    this.offset += 4
    return this.#view.getInt32(this.offset - 4, true)
  }

  u64(): bigint {
    this.offset += 8
    return this.#view.getBigUint64(this.offset - 8, true)
  }

  /** A u64 that must be an exact number. */
  number(): number {
    const value = Number(this.u64())
    if (!Number.isSafeInteger(value)) {
      throw new RangeError(`${value} is no exact number`)
    }
    return value
  }

  i64(): bigint {
    return BigInt.asIntN(64, this.u64())
  }

  take(length: number): Uint8Array {
    if (length > this.remaining) {
      throw new RangeError(`${length} bytes wanted, ${this.remaining} left`)
    }
    this.offset += length
    return this.bytes.subarray(this.offset - length, this.offset)
  }
}

/** A name or path as FUSE sends it: its bytes and a NUL. */
export function cString(text: string | Uint8Array): Uint8Array {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  return Buffer.concat([bytes, new Uint8Array(1)])
}
