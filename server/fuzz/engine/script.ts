// SPDX-License-Identifier: Apache-2.0
/**
 * A program is bytes: a head, then records of the same length, each of which a target reads as one step. What is read
 * beyond a record is zero, so any bytes are a program, and a mutation of one record leaves the others as they are.
 */
export class Script {
  readonly #bytes: Uint8Array
  #position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#bytes[this.#position++] ?? 0
  }

  /** 0 to `count` - 1, `count` at most 256. */
  below(count: number): number {
    return this.byte() % count
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)]
    if (choice === undefined) throw new Error('nothing to choose from')
    return choice
  }

  word(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0
  }

  long(): bigint {
    return BigInt(this.word()) | (BigInt(this.word()) << 32n)
  }

  take(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.byte())
  }
}

export const RECORD_BYTES = 32
/** Longer programs find nothing that two short ones would not. */
export const MAX_RECORDS = 64

/** The program's first record, which chooses how everything is set up, and the ones that follow. */
export function splitProgram(program: Uint8Array): { head: Script; steps: Script[] } {
  const records: Script[] = []
  for (let at = 0; at < program.length && records.length <= MAX_RECORDS; at += RECORD_BYTES) {
    records.push(new Script(program.subarray(at, at + RECORD_BYTES)))
  }
  return { head: records[0] ?? new Script(new Uint8Array(0)), steps: records.slice(1) }
}
