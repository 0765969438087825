// SPDX-License-Identifier: Apache-2.0
/**
 * Postcard's wire format, as far as a device's state needs it: integers are little-endian groups of seven bits, signed ones in zigzag;
 * sequences, strings and bytes have their length before them, enumerations their variant, options a byte.
 */
const CHUNK = 64 * 1024

export class PostcardWriter {
  #bytes = Buffer.allocUnsafe(CHUNK)
  #end = 0

  /** @param value a whole number up to 2^53 */
  unsigned(value: number): void {
    this.#reserve(10)
    let left = value
    while (left >= 0x80) {
      this.#bytes[this.#end++] = (left % 0x80) | 0x80
      left = Math.floor(left / 0x80)
    }
    this.#bytes[this.#end++] = left
  }

  /** @param value of 32 bits */
  signed(value: number): void {
    this.unsigned(((value << 1) ^ (value >> 31)) >>> 0)
  }

  boolean(value: boolean): void {
    this.unsigned(value ? 1 : 0)
  }

  bytes(bytes: Uint8Array): void {
    this.unsigned(bytes.length)
    this.raw(bytes)
  }

  string(text: string): void {
    this.bytes(Buffer.from(text, 'utf8'))
  }

  /** Without a length. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** All that has been written. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#end)
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#end + bytes))
    larger.set(this.#bytes.subarray(0, this.#end))
    this.#bytes = larger
  }
}

/** What is read is not what was written. */
export class PostcardError extends Error {
  override readonly name = 'PostcardError'
}

export class PostcardReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  /** @throws PostcardError, as all of these do: the bytes end, or the number is larger than `most` */
  unsigned(most: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    for (let place = 1; ; place *= 0x80) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new PostcardError('it ends in the middle')
      value += (byte & 0x7f) * place
      if (value > most) throw new PostcardError(`a number is larger than ${most}`)
      if (byte < 0x80) return value
      if (place > Number.MAX_SAFE_INTEGER) throw new PostcardError('a number is too long')
    }
  }

  /** Of 32 bits. */
  signed(): number {
    const zigzag = this.unsigned(0xffff_ffff)
    return (zigzag >>> 1) ^ -(zigzag & 1)
  }

  boolean(): boolean {
    return this.unsigned(1) === 1
  }

  /** The bytes of the argument, not a copy. */
  bytes(): Buffer {
    return this.raw(this.unsigned(this.left))
  }

  string(): string {
    const bytes = this.bytes()
    const text = bytes.toString('utf8')
    if (!Buffer.from(text, 'utf8').equals(bytes)) throw new PostcardError('a string is not UTF-8')
    return text
  }

  raw(length: number): Buffer {
    if (length > this.left) throw new PostcardError('it ends in the middle')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  option<T>(read: () => T): T | undefined {
    return this.boolean() ? read() : undefined
  }

  /** Each element has at least one byte, so that no length makes more of them than the bytes can have. */
  sequence<T>(read: () => T): T[] {
    const length = this.unsigned(this.left)
    const all: T[] = []
    for (let i = 0; i < length; i++) all.push(read())
    return all
  }
}
