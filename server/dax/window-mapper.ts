// SPDX-License-Identifier: Apache-2.0
/**
 * What the FUSE server needs of a DAX window. Offsets and lengths are bytes and multiples of 4 KiB; `moffset` counts
 * from the start of the window. Called on queue threads, possibly on several at once. Results are 0 or `-errno`; -ENOTCONN
 * where a request of an older session (FuseChannel.beginSession) would map or unmap.
 */
export interface WindowMapper {
  /** Window size in bytes, 0 where there is none. */
  readonly size: number
  /** Whether `map` can map over a range of the same file, to make it writable. */
  readonly upgrades: boolean
  /**
   * Makes the window itself visible to the guest: called on FUSE_INIT, before its reply. Blocks until the frontend's
   * memory table holds the window, so that a guest never reads a window that is not there.
   */
  start(): number
  /**
   * Maps `length` bytes of `fd` from `foffset` at `moffset`, over whatever was there. `fd` stays the caller's.
   * The range may end beyond the end of the file. What can't be upgraded is writable at once where `fd` is. `nodeid` is the
   * file's.
   */
  map(moffset: number, length: number, fd: number, foffset: number, writable: boolean, nodeid: number): number
  /** Unmaps `count` ranges; `ranges[2*i]` is a moffset and `ranges[2*i+1]` a length. Holes are no error. */
  unmap(ranges: Float64Array, count: number): number
  /** Drops every mapping: INIT, DESTROY, device reset, disconnect. */
  reset(): void
}
