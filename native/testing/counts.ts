// SPDX-License-Identifier: Apache-2.0
/** What shared directories keep: counts.cc. */
import type { SharedDirectoryId } from '../file-system.ts'

export interface TestingCounts {
  /** Inodes that the guest knows, the root included. */
  inodes(directory: SharedDirectoryId): number
  /** Open files and directories. */
  handles(directory: SharedDirectoryId): number
  /** Buffers of directories that are being listed, of the whole process. */
  streamBuffers(): number
}
