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
  /** An extended attribute's value, what an ioctl command takes. */
  secondOffset: 5,
  secondLength: 6,
  /** LINK: the inode that gets the name. */
  otherNodeid: 7,
  /** XATTR_* */
  flags: 8,
  /** Of LSEEK, and where a lock starts. */
  offset: 9,
  /** Bytes that a lock covers; 0: up to the end of any file. */
  length: 10,
  /** SEEK_* of LSEEK; a lock's F_RDLCK 0, F_WRLCK 1 or F_UNLCK 2 */
  type: 11,
  /** Who locks, 64 bits. */
  ownerLow: 12,
  ownerHigh: 13,
  /** STATX_* */
  mask: 14,
  /** Of IOCTL. */
  command: 15,
  /** 1: clear the set-group-id bit, as FUSE_SETXATTR_ACL_KILL_SGID says. */
  killSuidgid: 16,
  /** 1: an open directory (IOCTL). */
  isDirectory: 17,
  /** 1: leave out system.posix_acl_* (LISTXATTR). */
  hideAcls: 18,
  /** Where the reply's struct goes, and the room that there is for one of no fixed size. */
  replyOffset: 19,
  replySize: 20,
} as const

export const FIELDS = Object.keys(Field).length
