// SPDX-License-Identifier: Apache-2.0
/**
 * Declarations of the addon's `fileSystem`: shared directories, and what holds for a session (native/binding/file_system_exports.cc).
 * What is done with their files is in operations.ts.
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
  /** Requests may have extensions: FUSE 7.38. */
  readonly extensions: boolean
  /** What the guest makes gets the security label that comes with the request: SECURITY_CTX. */
  readonly labels: boolean
  /** The host applies the umask: DONT_MASK. */
  readonly appliesUmask: boolean
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
   * @param predecessor the tables of a server that has ended, which become this one's, and the channel to its keeper
   * @throws a system error where the path is not a directory that can be opened, or handles can't be had
   */
  createSharedDirectory(
    path: string,
    entryTimeout: number,
    attributeTimeout: number,
    fileHandles: number,
    inodeLimit: number,
    ...predecessor: [] | [tables: number, keeper: number]
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
   * @param window it maps files by DAX
   */
  begin(directory: SharedDirectoryId, submounts: boolean, exports: boolean, window: boolean): void
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
  /**
   * The host's ids as the guest sees them, in all attributes, and what the guest's ids are on the host: quadruples of first id, count, what
   * the first becomes, and 0 where the others follow, 1 where all become that one, 2 where the guest must not use them.
   */
  setIds(
    directory: SharedDirectoryId,
    uidsToGuest: Uint32Array,
    gidsToGuest: Uint32Array,
    uidsToHost: Uint32Array,
    gidsToHost: Uint32Array,
  ): void
  /** A security label that may come with what a guest makes, and what that attribute is called on the host. */
  addLabelName(directory: SharedDirectoryId, guest: string, host: string): void
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
}
