// SPDX-License-Identifier: Apache-2.0
/**
 * The file system of one FUSE server as its operations see it: what they go by, and the calls that they make. Unit tests and fuzzers
 * have one of their own.
 */
import type { FileOperations } from '../../native/operations.ts'
import type { XattrMap } from './xattr-map.ts'

/** FuseInitFlag and FuseInitFlag2 bits that a guest gets together, or not at all. */
export interface InitFeature {
  /** The option that asks for it, for messages. */
  readonly option: string
  readonly flags: number
  readonly flags2: number
  /** A guest that does not offer all of them is refused. */
  readonly required: boolean
}

export interface FileSystem {
  /** The number of the shared directory. */
  readonly directory: number
  readonly operations: FileOperations
  /** Refuse every modification with EROFS. */
  readonly readOnly: boolean
  /** FuseInitFlag bits that are wanted where the guest offers them. */
  readonly initFlags: number
  readonly initFlags2: number
  readonly initFeatures: readonly InitFeature[]
  /** There are extended attributes; their names may be others on the host. */
  readonly xattr: boolean
  readonly xattrMap: XattrMap | undefined
  /** Something that gives a file to somebody got EPERM: tells which option helps. */
  ownerRefused: () => void
  /**
   * A session begins: what has been agreed on, and how large a window the device has. After `reset`, before INIT is answered. From now
   * on the data plane may serve requests.
   */
  begin: (flags: number, windowBytes: number) => void
  /** Ends the session. Forgets every handle and every inode except the root: INIT, DESTROY, device reset, disconnect. */
  reset: () => void
}
