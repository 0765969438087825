// SPDX-License-Identifier: Apache-2.0
/** New programs from old ones: whole records move, single bytes change. */
import type { Random } from './random.ts'
import { MAX_RECORDS, RECORD_BYTES } from './script.ts'

const INTERESTING = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255]

/** @param other another program of the corpus, to take records from */
export function mutate(program: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let result = pad(program)
  for (let changes = 1 + random.below(4); changes > 0; changes--) result = change(result, pad(other), random)
  return result.subarray(0, (MAX_RECORDS + 1) * RECORD_BYTES)
}

function pad(program: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.max(1, Math.ceil(program.length / RECORD_BYTES)) * RECORD_BYTES)
  padded.set(program)
  return padded
}

function change(program: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  const records = program.length / RECORD_BYTES
  const at = random.below(records) * RECORD_BYTES
  switch (random.below(9)) {
    case 0:
    case 1: {
      const fresh = new Uint8Array(RECORD_BYTES).map(() => random.word() & 0xff)
      return splice(program, at + RECORD_BYTES, 0, fresh)
    }
    case 2:
      return records > 2 ? splice(program, at, RECORD_BYTES, new Uint8Array(0)) : program
    case 3: {
      const length = (1 + random.below(4)) * RECORD_BYTES
      return splice(program, at + RECORD_BYTES, 0, program.slice(at, at + length))
    }
    case 4: {
      const from = random.below(other.length / RECORD_BYTES) * RECORD_BYTES
      const length = (1 + random.below(16)) * RECORD_BYTES
      return splice(program, at + RECORD_BYTES, 0, other.slice(from, from + length))
    }
    case 5: {
      const from = random.below(other.length / RECORD_BYTES) * RECORD_BYTES
      return splice(program, at + RECORD_BYTES, program.length, other.slice(from))
    }
    default: {
      const changed = program.slice()
      const place = at + random.below(RECORD_BYTES)
      const byte = changed[place] ?? 0
      const step = random.below(4)
      if (step === 0) changed[place] = byte ^ (1 << random.below(8))
      else if (step === 1) changed[place] = byte + random.below(9) - 4
      else if (step === 2) changed[place] = INTERESTING[random.below(INTERESTING.length)] ?? 0
      else changed[place] = random.word()
      return changed
    }
  }
}

function splice(bytes: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array {
  const rest = bytes.subarray(Math.min(bytes.length, at + removed))
  const result = new Uint8Array(at + inserted.length + rest.length)
  result.set(bytes.subarray(0, at))
  result.set(inserted, at)
  result.set(rest, at + inserted.length)
  return result
}
