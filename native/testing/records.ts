// SPDX-License-Identifier: Apache-2.0
/** A pool of 64 byte records and its index, alone: records.cc. Keys are whole numbers; 0 is no record. */

export interface TestingRecords {
  /** A key that is not there. @returns its record's index, or 0 where there is no room */
  insert(key: number): number
  /** @returns the index that it had, or 0 */
  erase(key: number): number
  find(key: number): number
  /** Of all records, in any order. */
  keys(): number[]
}

/** `count`: records that there is room for, at least. */
export type TestingRecordsConstructor = new (count: number) => TestingRecords
