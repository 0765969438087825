// SPDX-License-Identifier: Apache-2.0
/** Which files the guest uses most, and what of them the window shows: what `files` answers. */
import type { HotInode, MappedRange, WindowContents, WindowUse } from '../../native/index.ts'

/** Files that are told of; the hottest ones, then those with most ranges. */
export const MOST_HOT = 32
export const MOST_FILES = 256
/** Ranges of them, in all. */
export const MOST_RANGES = 4096
/** Parts that the window is drawn as. */
export const WINDOW_PARTS = 64

export interface FileReport {
  readonly nodeid: number
  /** As stat on the host has them; 0 for a file that the guest has forgotten. */
  readonly device: number
  readonly inode: number
  /** From the shared directory on; null where it is not known. */
  readonly path: string | null
  /** About how many the guest has sent that are about this file. */
  readonly requests: number
  /** Mapped now. */
  readonly rangeCount: number
  readonly ranges: readonly MappedRange[]
}

export interface FilesReport {
  readonly files: readonly FileReport[]
  /** Of each of the window's equal parts: how much of it is mapped, 0 to 1. */
  readonly window: readonly number[]
  /** Where it is a memory view. */
  readonly use?: WindowUse
}

export function hottest(inodes: readonly HotInode[]): HotInode[] {
  return inodes.toSorted((one, other) => other.requests - one.requests).slice(0, MOST_HOT)
}

/** Of the shared directory itself, which must be among the files: the others' paths begin with its. */
export const ROOT_NODEID = 1

export function filesReport(
  hot: readonly HotInode[],
  { files, mapped, use }: WindowContents,
  windowBytes: number,
): FilesReport {
  const sharedDir = files.find(({ nodeid }) => nodeid === ROOT_NODEID)?.path ?? ''
  const requests = new Map(hot.map((inode) => [inode.nodeid, inode.requests]))
  return {
    files: files.map(({ path, ...file }) => ({
      ...file,
      path: pathInShare(path, sharedDir),
      requests: requests.get(file.nodeid) ?? 0,
    })),
    window: mapped.map((bytes) => bytes / (windowBytes / WINDOW_PARTS)),
    ...(use === undefined ? {} : { use }),
  }
}

function pathInShare(path: string, sharedDir: string): string | null {
  if (path === '' || sharedDir === '') return null
  const prefix = sharedDir === '/' ? '' : sharedDir
  if (path === sharedDir) return '/'
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : null
}
