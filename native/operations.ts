// SPDX-License-Identifier: Apache-2.0
/** The operations that the control plane serves, on the files of a shared directory: native/binding/operation_exports.cc. */

/**
 * Does one operation.
 * @param record its arguments, which stand at places of `Field` (file-request.ts)
 * @param bytes what the record's ranges lie in
 * @param reply gets what the operation replies, at `replyOffset`, in the FUSE wire format
 * @returns 0, or what is said, or `-errno`. Throws where a range leaves its array: a bug of the caller's
 */
export type FileOperation = (record: Float64Array, bytes: Uint8Array, reply: Uint8Array) => number

/**
 * Inodes and handles belong to the process and may be used from all threads. None waits for a lease on the host or for another's
 * lock: -EAGAIN, and the same can be asked for again.
 */
export interface FileOperations {
  /** nodeid, mask. Replies struct fuse_statx_out. */
  readonly statx: FileOperation
  /** nodeid, replySize. @returns the target's length */
  readonly readlink: FileOperation
  /** nodeid: where the name is made; name, otherNodeid. Replies struct fuse_entry_out. */
  readonly link: FileOperation
  /** nodeid, fh, offset, type. @returns the new offset */
  readonly lseek: FileOperation
  /**
   * nodeid, fh, isDirectory, command (one of the four of struct fileattr), second: what it takes; replySize.
   * @returns bytes given
   */
  readonly ioctl: FileOperation
  /** nodeid, fh, owner, offset, length, type. Replies struct fuse_lk_out. */
  readonly getlk: FileOperation
  /** As `getlk`, without a reply. */
  readonly setlk: FileOperation
  /** nodeid, fh, type: flock(2) */
  readonly flock: FileOperation
  /** nodeid. Replies struct fuse_kstatfs. */
  readonly statfs: FileOperation
  /** nodeid, name, second: the value; flags, killSuidgid */
  readonly setxattr: FileOperation
  /** nodeid, name, replySize; 0 asks for the length alone. @returns the value's length */
  readonly getxattr: FileOperation
  /** nodeid, hideAcls, replySize; 0 asks for the length alone. @returns the list's length */
  readonly listxattr: FileOperation
  /** nodeid, name */
  readonly removexattr: FileOperation
}
