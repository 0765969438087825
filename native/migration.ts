// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of what the addon does when a guest moves: native/host/save_directory.h and restore_directory.h. Neither holds up the
 * calling thread; no request may be under way.
 */
import type { SharedDirectoryId } from './file-system.ts'

/** A file handle of the kernel's (name_to_handle_at(2)). */
export interface KernelFileHandle {
  /** The mount's id, as the sender's kernel has it. */
  readonly mount: number
  readonly type: number
  readonly bytes: Buffer
}

export interface SavedInode {
  readonly nodeid: number
  readonly lookups: number
  /** From the shared directory on. Without path and handle it is lost. */
  readonly path?: Buffer
  readonly handle?: KernelFileHandle
}

/** An open file or directory. */
export interface SavedHandle {
  readonly fh: number
  readonly nodeid: number
  /** Of the host's open(2). */
  readonly flags: number
}

export interface SavedDirectory {
  /** Without the shared directory itself. */
  readonly inodes: readonly SavedInode[]
  readonly handles: readonly SavedHandle[]
  /** Where the roots of the mounts are that handles are of. */
  readonly mountPaths: readonly { readonly mount: number; readonly path: Buffer }[]
  /** Those that would be given out next. */
  readonly nextNodeid: number
  readonly nextFh: number
  readonly generation: number
  /** How many inodes could only be found by looking through the whole share. */
  readonly searched: number
  /** An errno of writing out what the guest has written to open files, or 0. */
  readonly writeError: number
}

/**
 * What the guest has written to open files is where another host that opens them finds it.
 * @param device whose guest has the directory; -1: none
 * @param paths inodes are found by path, or else by handle alone
 * @param handles with paths: the handle, too
 */
export type SaveDirectory = (
  directory: SharedDirectoryId,
  device: number,
  paths: boolean,
  handles: boolean,
) => Promise<SavedDirectory>

export interface RestoredInode {
  readonly nodeid: number
  readonly lookups: number
  /** Of the inode, or of the mount whose root `handle` is opened at; undefined where the sender has lost it. */
  readonly path: Buffer | undefined
  readonly handle: Omit<KernelFileHandle, 'mount'> | undefined
  /** What its handle has to be. */
  readonly expected: Omit<KernelFileHandle, 'mount'> | undefined
}

export interface RestoredDirectory {
  /** Those above others first. */
  readonly inodes: readonly RestoredInode[]
  readonly handles: readonly SavedHandle[]
  /** Above all of theirs. */
  readonly nextNodeid: number
  readonly nextFh: number
  /** 0: this process's own. */
  readonly generation: number
}

export interface LostPart {
  /** Nodeid or fh. */
  readonly id: number
  readonly errno: number
}

/** @returns what could not be had again; inodes get EIO until the guest has forgotten them, handles EBADF */
export type RestoreDirectory = (
  directory: SharedDirectoryId,
  device: number,
  state: RestoredDirectory,
) => Promise<{ readonly inodes: readonly LostPart[]; readonly handles: readonly LostPart[] }>
