// SPDX-License-Identifier: Apache-2.0
/** How a host directory is shared. The names and meanings are virtiofsd's where it has the option. */
import type { IdTranslation } from './id-translation.ts'

/**
 * How long the guest may believe what it knows.
 * - `never`: asks for everything every time, and keeps no file data.
 * - `metadata`: keeps names and attributes, no file data.
 * - `auto`: keeps names and attributes for a second, and data as long as size, mtime and ctime are the same at each open.
 * - `always`: keeps everything; for directories that nobody else changes.
 */
export type CachePolicy = 'never' | 'metadata' | 'auto' | 'always'

/**
 * How inodes that the guest knows are kept: by file handle (name_to_handle_at(2)) or by an open O_PATH descriptor.
 * - `never`: by descriptor.
 * - `prefer`: by handle where the file system has handles and the process may open them (CAP_DAC_READ_SEARCH).
 * - `mandatory`: by handle; where that can't be, sharing or the lookup fails.
 */
export type InodeFileHandles = 'never' | 'prefer' | 'mandatory'

/** Whether a guest gets a feature; with `always`, one that does not know it can't mount. */
export type FeatureMode = 'never' | 'auto' | 'always'

export interface PassthroughOptions {
  cache: CachePolicy
  /** Extended attributes. A guest's root file system needs them (file capabilities). */
  xattr: boolean
  /** POSIX ACLs are enforced by the guest; needs `xattr`. */
  posixAcl: FeatureMode
  /** Rules by which names of extended attributes differ between guest and host (xattr-map.ts); needs `xattr`. */
  xattrMap: string | undefined
  /** What the guest creates is born with the security label that it sends; needs `xattr`. */
  securityLabel: FeatureMode
  /** Rules by which ids differ between guest and host (id-translation.ts). Not to be combined with `posixAcl`. */
  translateUid: readonly IdTranslation[]
  translateGid: readonly IdTranslation[]
  /** Locks of fcntl(2) and of flock(2) exclude other guests and the host, too; otherwise they are the guest's own. */
  posixLocks: boolean
  flocks: boolean
  /** Refuse every modification. */
  readOnly: boolean
  /** The guest collects writes in its page cache. */
  writeback: boolean
  /** Pass O_DIRECT on to the host's files. */
  allowDirectIo: boolean
  /** Allow shared mappings of files that bypass the guest's page cache. */
  allowMmap: boolean
  /** The server instead of the guest clears setuid and setgid bits. */
  killprivV2: boolean
  /** The guest makes a mount of its own for each file system below the shared directory. */
  announceSubmounts: boolean
  readdirplus: boolean
  inodeFileHandles: InodeFileHandles
  /** The most descriptors that the process may have (RLIMIT_NOFILE). 0 keeps the limit. */
  descriptorLimit: number
  /** The most inodes that the guest may know; some 150 bytes of memory each. */
  inodeLimit: number
  /** Pass O_NOATIME on to the host's files. */
  preserveNoatime: boolean
  /** Which files have FUSE_ATTR_DAX: those of at least so many bytes, whose data has not changed for so many seconds. */
  daxPolicy: {
    readonly enabled: boolean
    readonly minSizeBytes: number
    readonly minAgeSeconds: number
    /** f_type of the file systems whose files the window can show; undefined where it can show any. */
    readonly fileSystems?: readonly number[]
  }
  /** Fill the holes of a range before it is shown for writing, so that a full disk is an error then. */
  daxReserve: boolean
}

export const defaultOptions: Readonly<PassthroughOptions> = {
  cache: 'auto',
  xattr: true,
  posixAcl: 'never',
  xattrMap: undefined,
  securityLabel: 'never',
  posixLocks: false,
  flocks: false,
  translateUid: [],
  translateGid: [],
  readOnly: false,
  writeback: false,
  allowDirectIo: false,
  allowMmap: false,
  killprivV2: false,
  announceSubmounts: true,
  readdirplus: true,
  inodeFileHandles: 'prefer',
  descriptorLimit: 1_000_000,
  inodeLimit: 2 ** 25,
  preserveNoatime: false,
  daxPolicy: { enabled: false, minSizeBytes: 0, minAgeSeconds: 0 },
  daxReserve: false,
}

const DAY_SECONDS = 86400

/** Seconds that names and attributes stay valid. */
export function cacheTimeout(cache: CachePolicy): number {
  if (cache === 'never') return 0
  return cache === 'auto' ? 1 : DAY_SECONDS
}
