// SPDX-License-Identifier: Apache-2.0
/** The bookkeeping of windows without a frontend: ranges.cc. */

export interface TestingRanges {
  /** What a map request means; a free range is taken. */
  map(
    moffset: number,
    length: number,
    inode: number,
    foffset: number,
    writable: boolean,
  ): 'map' | 'present' | 'conflict'
  /** @returns mappings erased, or -1 and none where one lies only partly in the range */
  unmap(moffset: number, length: number): number
  shows(inode: number): boolean
}

export type TestingRangesConstructor = new () => TestingRanges

/** What those who look on are shown of a window; see native/window/mapped_ranges.h. */
export interface TestingMappedRanges {
  add(nodeid: number, moffset: number, length: number, foffset: number, writable: boolean, windowSize: number): void
  remove(moffset: number, length: number): void
  wantedAgain(): number
  /** @returns up to `most` from `moffset` on: nodeid, moffset, length, foffset, 1 for a writable one */
  from(moffset: number, most: number): number[][]
}

export type TestingMappedRangesConstructor = new () => TestingMappedRanges
