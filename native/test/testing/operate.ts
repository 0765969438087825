// SPDX-License-Identifier: Apache-2.0
import { Field, FIELDS } from '../../file-request.ts'
import { operations } from '../../index.ts'
import type { FileOperations } from '../../operations.ts'

/** A record with these fields. */
function makeRecord(fields: Partial<Record<keyof typeof Field, number>>): Float64Array {
  const record = new Float64Array(FIELDS)
  for (const [name, place] of Object.entries(Field)) record[place] = new Map(Object.entries(fields)).get(name) ?? 0
  return record
}

/** One operation of the addon, without a FUSE server. */
export function operate(
  name: keyof FileOperations,
  fields: Partial<Record<keyof typeof Field, number>>,
  bytes = new Uint8Array(0),
  reply = new Uint8Array(512),
): number {
  return operations[name](makeRecord(fields), bytes, reply)
}
