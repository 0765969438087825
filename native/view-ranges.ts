// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of the addon's `viewRanges`: a memory view as the window of a shared directory. Ranges that the guest may
 * write become read-only while the guest has their file nowhere open for writing (native/window/view_ranges.h).
 */
import type { SharedDirectoryId } from './file-system.ts'

export interface ViewRanges {
  /** The view's control fd, which stays the caller's. Before the first request; may be repeated. */
  attach(directory: SharedDirectoryId, controlFd: number): void
  /** Maps a range of the file `fd`, which is the inode `nodeid`, as `MemoryView.map` does. @returns 0 or `-errno` */
  map(
    directory: SharedDirectoryId,
    nodeid: number,
    moffset: number,
    length: number,
    fd: number,
    foffset: number,
    writable: boolean,
  ): number
  /** To be called before a part of the view is unmapped. */
  forget(directory: SharedDirectoryId, moffset: number, length: number): void
  /** The path, as this process sees it, of the file that the guest may write at this place now; '' where none is known. */
  fileAt(directory: SharedDirectoryId, moffset: number): Promise<string>
}
