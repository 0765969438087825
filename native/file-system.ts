// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of the addon's `fileSystem`: the operations of a shared directory (native/binding/file_system_exports.cc).
 *
 * Every operation takes the number of a shared directory first; inodes and handles behind it belong to the process and
 * may be used from all threads. Results are 0, or what is said, or `-errno`. A name or a value is a range of a byte
 * array, `offset` and `length`; names end with a NUL behind the range. A reply is written in the FUSE wire format at
 * `replyOffset`.
 */

/** The number of a shared directory. */
export type SharedDirectoryId = number

/**
 * What OPEN, OPENDIR, CREATE and TMPFILE go by during a session: struct OpenPolicy of native/session/service_policy.h. All
 * flags are 32 bits.
 */
export interface OpenPolicy {
  /** Opens that could change a file get EROFS. */
  readonly readOnly: boolean
  /** O_* of the guest that reach the host. */
  readonly passedFlags: number
  /** O_WRONLY becomes O_RDWR, ... */
  readonly readsAlways: boolean
  /** ... or stays as it is where the file's mode forbids that. */
  readonly mayWriteOnly: boolean
  /** ESTALE, once, where a file is not what the guest was told. */
  readonly asksAgain: boolean
  /** FOPEN_* for a file that is not, or still is, as the guest was told, and for one whose size says nothing ... */
  readonly changedFile: number
  readonly unchangedFile: number
  readonly unsizedFile: number
  /** ... and besides, where nothing would come of a FLUSH: it can't be written to, or its file system has no use for it. */
  readonly unflushed: number
  readonly changedDirectory: number
  readonly unchangedDirectory: number
}

/** What the guest has agreed to. */
export interface AgreedFeatures {
  readonly writebackCache: boolean
  readonly posixLocks: boolean
  /** HANDLE_KILLPRIV_V2 */
  readonly handlesKillpriv: boolean
  /** A name that does not exist is answered with an entry without nodeid, which the guest keeps as long as other names. */
  readonly negativeEntries: boolean
  /** The window is where the guest will look for it. */
  readonly windowShown: boolean
}

export interface NativeFileSystem {
  /**
   * Opens a directory to share. Names and attributes stay valid in the guest for the given seconds. Open files, and
   * inodes without a handle, together may take as many descriptors as RLIMIT_NOFILE leaves at this moment.
   * @param fileHandles 0: never; 1: where the file system has them; 2: always
   * @param inodeLimit inodes that the guest may know; more lookups get ENFILE
   * @throws a system error where the path is not a directory that can be opened, or handles can't be had
   */
  createSharedDirectory(
    path: string,
    entryTimeout: number,
    attributeTimeout: number,
    fileHandles: number,
    inodeLimit: number,
  ): SharedDirectoryId
  /** @returns 0 where the directory's file system has file handles and they are used, or why not as `-errno` */
  fileHandles(directory: SharedDirectoryId): number
  /** @returns 1 where the directory lies on a file system like procfs, where a file's size says nothing about its contents */
  isPseudo(directory: SharedDirectoryId): number
  /**
   * Sets RLIMIT_NOFILE to `wanted`, or to as much as the system allows.
   * @returns the limit now
   */
  setDescriptorLimit(wanted: number): number
  /**
   * Gives the calling thread a umask of its own, 0. Call once on each thread that serves requests.
   * @throws a system error
   */
  attachThread(): void
  /** Forgets all handles and all inodes but the root. */
  reset(directory: SharedDirectoryId): void
  /**
   * What the guest has agreed to, after `reset`.
   * @param submounts it makes a mount of its own where FUSE_ATTR_SUBMOUNT tells it that another file system begins
   * @param exports it may look up inodes that it has forgotten
   */
  begin(directory: SharedDirectoryId, submounts: boolean, exports: boolean): void
  /**
   * Which regular files are marked with FUSE_ATTR_DAX: by size in bytes, by seconds since their data has changed, and by
   * f_type (statfs(2)) of their file system, unless `fileSystems` is empty.
   */
  setDaxPolicy(
    directory: SharedDirectoryId,
    enabled: boolean,
    minSize: number,
    minAge: number,
    fileSystems: readonly number[],
  ): void
  /** Whether SETUPMAPPING for writing fills the holes of the range first: ENOSPC or EDQUOT where the disk is full. */
  setDaxReserve(directory: SharedDirectoryId, reserve: boolean): void
  /** Host ids as the guest sees them, in all attributes: quadruples of first host id, count, guest id, and 1 to squash. */
  setIds(directory: SharedDirectoryId, uids: Uint32Array, gids: Uint32Array): void
  /** The host's name for file capabilities where it is not the guest's: the server drops them at a change by itself. */
  setCapabilityName(directory: SharedDirectoryId, name: string): void
  /**
   * What the data plane goes by until `reset` withdraws it.
   * @param services who serves requests, by opcode (64): 0 the control plane, 1 the data plane, 2 its pool
   * @param windowSize bytes; 0 where the device has no window
   */
  publishPolicy(
    directory: SharedDirectoryId,
    services: Uint8Array,
    agreed: AgreedFeatures,
    open: OpenPolicy,
    windowSize: number,
  ): void
  /** The first [uid, gid] that a file was to get and this process could not give, once; 2^32 - 1 for one that was not to change. */
  takeRefusedOwner(): [number, number] | undefined

  forget(directory: SharedDirectoryId, nodeid: number, nlookup: number): void
  /** `valid`: FATTR_*. Replies struct fuse_attr_out. */
  setattr(
    directory: SharedDirectoryId,
    nodeid: number,
    valid: number,
    mode: number,
    uid: number,
    gid: number,
    size: number,
    fh: number,
    atime: number,
    atimensec: number,
    mtime: number,
    mtimensec: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  /** Replies struct fuse_statx_out. */
  statx(directory: SharedDirectoryId, nodeid: number, mask: number, reply: Uint8Array, replyOffset: number): number
  /** @returns the target's length */
  readlink(directory: SharedDirectoryId, nodeid: number, reply: Uint8Array, replyOffset: number, size: number): number
  /** Replies struct fuse_entry_out, as do `mknod`, `mkdir` and `link`. `groups`: supplementary ones, 32 bits each. */
  symlink(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    targets: Uint8Array,
    targetOffset: number,
    targetLength: number,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  mknod(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    mode: number,
    rdev: number,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  mkdir(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    mode: number,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  unlink(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
  ): number
  rmdir(directory: SharedDirectoryId, parent: number, names: Uint8Array, nameOffset: number, nameLength: number): number
  rename(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    newParent: number,
    newNames: Uint8Array,
    newNameOffset: number,
    newNameLength: number,
    flags: number,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
  ): number
  link(
    directory: SharedDirectoryId,
    nodeid: number,
    newParent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number

  /** Replies struct fuse_entry_out and struct fuse_open_out. `flags`: the guest's. @returns the new handle's fh */
  create(
    directory: SharedDirectoryId,
    parent: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    flags: number,
    mode: number,
    killSuidgid: boolean,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  /** Replies struct fuse_entry_out and struct fuse_open_out. `flags`: the guest's. @returns the new handle's fh */
  tmpfile(
    directory: SharedDirectoryId,
    parent: number,
    flags: number,
    mode: number,
    umask: number,
    uid: number,
    gid: number,
    groups: Uint8Array,
    groupsOffset: number,
    groupsLength: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  release(directory: SharedDirectoryId, nodeid: number, fh: number): number
  /** @returns the new offset */
  lseek(directory: SharedDirectoryId, nodeid: number, fh: number, offset: number, whence: number): number

  /** Replies struct fuse_lk_out. `length` 0: up to the end of any file; `type`: F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
  getlk(
    directory: SharedDirectoryId,
    nodeid: number,
    fh: number,
    ownerLow: number,
    ownerHigh: number,
    start: number,
    length: number,
    type: number,
    reply: Uint8Array,
    replyOffset: number,
  ): number
  /** Never waits: `-EAGAIN`. */
  setlk(
    directory: SharedDirectoryId,
    nodeid: number,
    fh: number,
    ownerLow: number,
    ownerHigh: number,
    start: number,
    length: number,
    type: number,
    flock: boolean,
  ): number
  /** One of the four commands of struct fileattr. @returns bytes given, in `reply` */
  ioctl(
    directory: SharedDirectoryId,
    nodeid: number,
    fh: number,
    isDirectory: boolean,
    command: number,
    argument: Uint8Array,
    argumentOffset: number,
    argumentLength: number,
    reply: Uint8Array,
    replyOffset: number,
    replySize: number,
  ): number
  /** Replies struct fuse_kstatfs. */
  statfs(directory: SharedDirectoryId, nodeid: number, reply: Uint8Array, replyOffset: number): number

  setxattr(
    directory: SharedDirectoryId,
    nodeid: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    values: Uint8Array,
    valueOffset: number,
    valueLength: number,
    flags: number,
    killSgid: boolean,
  ): number
  /** @returns the value's length; a `size` of 0 asks for it alone */
  getxattr(
    directory: SharedDirectoryId,
    nodeid: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
    reply: Uint8Array,
    replyOffset: number,
    size: number,
  ): number
  /** @returns the list's length; a `size` of 0 asks for it alone */
  listxattr(
    directory: SharedDirectoryId,
    nodeid: number,
    hideAcls: boolean,
    reply: Uint8Array,
    replyOffset: number,
    size: number,
  ): number
  removexattr(
    directory: SharedDirectoryId,
    nodeid: number,
    names: Uint8Array,
    nameOffset: number,
    nameLength: number,
  ): number
}
