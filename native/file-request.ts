// SPDX-License-Identifier: Apache-2.0
/**
 * The record in which an operation's arguments are handed to the addon: a Float64Array whose places are named by `Field`. It costs
 * a tenth of an object's properties, and a third less than as many arguments. A place that an operation does not use is
 * ignored. Names and values are ranges, offset and length, of the byte array that goes with the record; names end with a NUL
 * behind the range.
 */

/** In the order of enum Field of native/binding/file_request.h. */
export const Field = {
  /** The number of the shared directory. */
  directory: 0,
  /** The inode; of an operation on a name, its parent directory. */
  nodeid: 1,
  fh: 2,
  nameOffset: 3,
  nameLength: 4,
  /** RENAME's new name, SYMLINK's target, an extended attribute's value, what an ioctl command takes. */
  secondOffset: 5,
  secondLength: 6,
  /** RENAME: the new name's parent; LINK: the inode that gets the name. */
  otherNodeid: 7,
  /** O_* of an open, RENAME_*, XATTR_* */
  flags: 8,
  mode: 9,
  /** As in the FUSE protocol. */
  rdev: 10,
  /** On whose behalf something is made, as ids of the host; the groups are supplementary ones, 32 bits each. */
  umask: 11,
  uid: 12,
  gid: 13,
  groupsOffset: 14,
  groupsLength: 15,
  /** FATTR_* of what SETATTR changes, and what to: besides `mode`, `uid`, `gid`, `fh`. */
  valid: 16,
  size: 17,
  atime: 18,
  atimensec: 19,
  mtime: 20,
  mtimensec: 21,
  /** Of LSEEK, and where a lock starts. */
  offset: 22,
  /** Bytes that a lock covers; 0: up to the end of any file. */
  length: 23,
  /** SEEK_* of LSEEK; a lock's F_RDLCK 0, F_WRLCK 1 or F_UNLCK 2 */
  type: 24,
  /** Who locks, 64 bits. */
  ownerLow: 25,
  ownerHigh: 26,
  /** Lookups that FORGET takes back. */
  nlookup: 27,
  /** STATX_* */
  mask: 28,
  /** Of IOCTL. */
  command: 29,
  /** 1: clear set-id bits, as FUSE_OPEN_KILL_SUIDGID and FUSE_SETXATTR_ACL_KILL_SGID say. */
  killSuidgid: 30,
  /** 1: an open directory (IOCTL). */
  isDirectory: 31,
  /** 1: leave out system.posix_acl_* (LISTXATTR). */
  hideAcls: 32,
  /** Where the reply's struct goes, and the room that there is for one of no fixed size. */
  replyOffset: 33,
  replySize: 34,
} as const

export const FIELDS = Object.keys(Field).length
