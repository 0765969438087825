// SPDX-License-Identifier: Apache-2.0
/** Bytes that no guest can know: what stands in the server's memory where nothing of the guest's does. */
import { randomBytes } from 'node:crypto'

const WORD = randomBytes(4).map((byte) => byte | 0x80)

export function fillSecret(bytes: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at++) bytes[at] = WORD[at & 3] ?? 0
}

/** Whether four of them stand in a row. */
export function holdsSecret(bytes: Uint8Array): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return [0, 1, 2, 3].some((turn) => buffer.includes(Buffer.concat([WORD.subarray(turn), WORD.subarray(0, turn)])))
}
