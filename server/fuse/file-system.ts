// SPDX-License-Identifier: Apache-2.0
/**
 * The seam between the FUSE server and a file system: a method an operation that the data plane does not serve, on decoded numbers and on names that
 * stand in the request buffer.
 *
 * Conventions of every method that returns a number: `-errno` on failure; where the method takes a `reply`, it writes
 * the reply's struct at `reply.offset` and returns its length in bytes (the server has checked that a struct of fixed
 * size fits); otherwise 0, or what the method says. Nothing throws. Names are single components, checked, never "." or
 * "..", and NUL-terminated in the buffer. The server refuses modifications of a read-only file system by itself.
 *
 * Methods that give the guest a struct fuse_entry_out with a nodeid raise that inode's lookup count by one.
 */
import type { ReplyBody, WireBytes } from './wire.ts'

/** On whose behalf a request runs. One object per server, rewritten for each request. */
export interface Caller {
  uid: number
  gid: number
  pid: number
  /** The supplementary groups that came with a create request, 32 bits each; of length 0 for none. */
  readonly supplementaryGroups: WireBytes
  /** The extended attribute that what is created must be born with, and its value; a name of length 0 for none. */
  readonly labelName: WireBytes
  readonly label: WireBytes
}

/** SETATTR's arguments; `valid` (FuseSetattrValid) says which count. One object per server. */
export interface SetattrArguments {
  valid: number
  fh: number
  size: number
  atimeSeconds: number
  atimeNanoseconds: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  mode: number
  uid: number
  gid: number
}

/** A lock as GETLK, SETLK and SETLKW name it. One object per server. */
export interface LockRequest {
  nodeid: number
  fh: number
  /** Who locks, 64 bits: a process (POSIX) or an open file (flock). */
  ownerLow: number
  ownerHigh: number
  start: number
  /** Bytes; 0 for all up to the end of any file. */
  length: number
  /** F_RDLCK, F_WRLCK or F_UNLCK of fcntl(2), as on all architectures that asm-generic/fcntl.h serves. */
  type: number
  /** flock(2): the whole file, by the open file. */
  flock: boolean
}

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
  /** Refuse every modification with EROFS. */
  readonly readOnly: boolean
  /** FuseInitFlag bits that are wanted where the guest offers them. */
  readonly initFlags: number
  readonly initFlags2: number
  readonly initFeatures: readonly InitFeature[]
  /**
   * A session begins: what has been agreed on, and how large a window the device has. After `reset`, before INIT is answered. From now on the data plane may serve
   * requests.
   */
  begin?(flags: number, windowBytes: number): void

  setattr(nodeid: number, attributes: SetattrArguments, reply: ReplyBody): number
  /** `mask`: STATX_*; the reply is struct fuse_statx_out. */
  statx(nodeid: number, mask: number, reply: ReplyBody): number
  readlink(nodeid: number, reply: ReplyBody): number
  symlink(parent: number, name: WireBytes, target: WireBytes, caller: Caller, reply: ReplyBody): number
  mknod(
    parent: number,
    name: WireBytes,
    mode: number,
    rdev: number,
    umask: number,
    caller: Caller,
    reply: ReplyBody,
  ): number
  mkdir(parent: number, name: WireBytes, mode: number, umask: number, caller: Caller, reply: ReplyBody): number
  unlink(parent: number, name: WireBytes): number
  rmdir(parent: number, name: WireBytes): number
  /** `flags`: RENAME_* of renameat2(2); a whiteout is the caller's. */
  rename(parent: number, name: WireBytes, newParent: number, newName: WireBytes, flags: number, caller: Caller): number
  link(nodeid: number, newParent: number, newName: WireBytes, reply: ReplyBody): number

  /**
   * `flags`: O_* of the guest; `openFlags`: FUSE_OPEN_*. The reply is struct fuse_entry_out, then struct fuse_open_out.
   * `-EAGAIN`, as of `setattr` and `getlk`, says that a program on the host holds a lease, and that the same can be asked for
   * again.
   */
  create(
    parent: number,
    name: WireBytes,
    flags: number,
    mode: number,
    umask: number,
    openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number
  /** As `create`, for a file without a name. */
  tmpfile(
    parent: number,
    flags: number,
    mode: number,
    umask: number,
    openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number
  /** The lock that is in the way. The reply is struct fuse_lk_out. */
  getlk(request: LockRequest, reply: ReplyBody): number
  /** Never waits: `-EAGAIN` where another lock is in the way. */
  setlk(request: LockRequest): number
  /** @returns the new offset */
  lseek(nodeid: number, fh: number, offset: number, whence: number): number

  /**
   * FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR or FS_IOC_FSSETXATTR. `argument` is what the command takes, at
   * most 32 bytes; what it gives is written at `reply.offset`.
   * @returns bytes written
   */
  ioctl(nodeid: number, fh: number, directory: boolean, command: number, argument: WireBytes, reply: ReplyBody): number

  statfs(nodeid: number, reply: ReplyBody): number

  /** `flags`: XATTR_CREATE, XATTR_REPLACE; `killSgid`: clear SGID as a caller outside of the file's group would. */
  setxattr(nodeid: number, name: WireBytes, value: WireBytes, flags: number, killSgid: boolean): number
  /** @returns the value's length; it stands in the reply if `size` (at most the reply's capacity) is not 0 */
  getxattr(nodeid: number, name: WireBytes, size: number, reply: ReplyBody): number
  /** @returns the list's length, as `getxattr` */
  listxattr(nodeid: number, size: number, reply: ReplyBody): number
  removexattr(nodeid: number, name: WireBytes): number

  /** Ends the session. Forgets every handle and every inode except the root: INIT, DESTROY, device reset, disconnect. */
  reset(): void
}
