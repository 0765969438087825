// SPDX-License-Identifier: Apache-2.0
/** The bookkeeping of a shmem window without a frontend: ranges.cc. */

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
