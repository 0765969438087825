// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of the addon's `viewRanges`: a memory view as the window of a shared directory. Ranges that the guest may
 * write become read-only while the guest has their file nowhere open for writing (native/window/view_ranges.h).
 */
import type { SharedDirectoryId } from './file-system.ts'

/** Of a window that is a memory view, as its driver tells (MEMVIEW_GET_USE). */
export interface WindowUse {
  /** Page faults served there since it was mapped. */
  readonly faults: number
  /** What the frontend's page tables have of it now. */
  readonly mappedBytes: number
  /** Of that, by huge pages. */
  readonly hugeBytes: number
}

/** A part of the window that shows a part of a file; bytes. */
export interface MappedRange {
  readonly windowOffset: number
  readonly fileOffset: number
  readonly bytes: number
  /** As the guest asked last. */
  readonly writable: boolean
  readonly use: WindowUse | undefined
}

/** An inode and what the window shows of it. */
export interface WindowFile {
  readonly nodeid: number
  /** As stat has them; 0 for one that the guest has forgotten. */
  readonly device: number
  readonly inode: number
  /** As this process sees it; '' where that is not known, or could only be found by waiting. */
  readonly path: string
  readonly rangeCount: number
  /** As far as there was room for them. */
  readonly ranges: readonly MappedRange[]
}

export interface WindowContents {
  readonly files: readonly WindowFile[]
  /** Of each of the equal parts that the window is divided into: bytes that show something. */
  readonly mapped: readonly number[]
  /** Of all of it; faults are those of what is mapped now. */
  readonly use: WindowUse | undefined
}

/**
 * What the window shows, file by file: those of `nodeids` first, in the window or not, then those with most ranges; at most `mostFiles`, with
 * `mostRanges` in all. It is for those who look on: what changes meanwhile may be missing.
 */
export type WindowFiles = (
  directory: SharedDirectoryId,
  nodeids: readonly number[],
  mostFiles: number,
  mostRanges: number,
  windowSizeBytes: number,
  parts: number,
) => Promise<WindowContents>

/** Ranges that the guest has wanted back within a minute of having given them up in a window that was nearly full. */
export type RangesWantedAgain = (directory: SharedDirectoryId) => number

export interface ViewRanges {
  /** The path, as this process sees it, of the file that the guest may write at this place now; '' where none is known. */
  fileAt(directory: SharedDirectoryId, moffset: number): Promise<string>
}
