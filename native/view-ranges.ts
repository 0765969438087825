// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of the addon's `viewRanges`: a memory view as the window of a shared directory. Ranges that the guest may
 * write become read-only while the guest has their file nowhere open for writing (native/window/view_ranges.h).
 */
import type { SharedDirectoryId } from './file-system.ts'

export interface ViewRanges {
  /** The path, as this process sees it, of the file that the guest may write at this place now; '' where none is known. */
  fileAt(directory: SharedDirectoryId, moffset: number): Promise<string>
}
