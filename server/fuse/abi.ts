// SPDX-License-Identifier: Apache-2.0
/**
 * The FUSE wire ABI up to 7.46, from include/uapi/linux/fuse.h: opcodes, flags, and the layout of each struct as byte
 * offsets. Everything is little-endian. A test compares sizes and offsets with the C compiler's view of the header.
 */

export const FUSE_KERNEL_VERSION = 7
/** The newest minor version that this server speaks. */
export const FUSE_KERNEL_MINOR_VERSION = 46
/** Older guests (before Linux 4.20) have other struct sizes and no FUSE_MAX_PAGES; they are refused. */
export const FUSE_MIN_KERNEL_MINOR_VERSION = 27
export const FUSE_ROOT_ID = 1

export const FuseOpcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const
export type FuseOpcode = (typeof FuseOpcode)[keyof typeof FuseOpcode]

const opcodeNames = new Map<number, string>(Object.entries(FuseOpcode).map(([name, value]) => [value, name]))

/** `LOOKUP` for 1; `opcode 4096` for what this server does not know. */
export function opcodeName(opcode: number): string {
  return opcodeNames.get(opcode) ?? `opcode ${opcode}`
}

/** FUSE_INIT flags, bits 0..31 (`flags`). */
export const FuseInitFlag = {
  /** Asynchronous read requests. */
  ASYNC_READ: 1 << 0,
  /** Remote POSIX locks (GETLK, SETLK, SETLKW). */
  POSIX_LOCKS: 1 << 1,
  /** OPEN carries O_TRUNC. */
  ATOMIC_O_TRUNC: 1 << 3,
  /** LOOKUP of "." and "..", also of a nodeid that the guest has forgotten. */
  EXPORT_SUPPORT: 1 << 4,
  /** WRITE of more than 4 KiB. */
  BIG_WRITES: 1 << 5,
  /** The server applies the umask. */
  DONT_MASK: 1 << 6,
  /** Remote BSD locks. */
  FLOCK_LOCKS: 1 << 10,
  /** IOCTL on directories. */
  HAS_IOCTL_DIR: 1 << 11,
  /** The guest drops its page cache when mtime or size changed. */
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  /** Asynchronous direct I/O. */
  ASYNC_DIO: 1 << 15,
  /** The guest writes its page cache back later. */
  WRITEBACK_CACHE: 1 << 16,
  /** LOOKUP and READDIR of one directory in parallel. */
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  /** fuse_init_out.max_pages is valid. */
  MAX_PAGES: 1 << 22,
  /** The guest caches READLINK. */
  CACHE_SYMLINKS: 1 << 23,
  /** fuse_init_out.map_alignment is valid; only offered by a guest that will use the DAX window. */
  MAP_ALIGNMENT: 1 << 26,
  /** The guest makes a mount of its own at FUSE_ATTR_SUBMOUNT. */
  SUBMOUNTS: 1 << 27,
  /** The server clears setuid and setgid on write, truncate and chown. */
  HANDLE_KILLPRIV_V2: 1 << 28,
  /** The long struct fuse_setxattr_in. */
  SETXATTR_EXT: 1 << 29,
  /** `flags2` is valid in both directions. */
  INIT_EXT: 1 << 30,
} as const

/** FUSE_INIT flags, bits 32..63, shifted down (`flags2`). */
export const FuseInitFlag2 = {
  /** Security contexts in create requests. */
  SECURITY_CTX: 1 << 0,
  /** FUSE_ATTR_DAX decides per inode. */
  HAS_INODE_DAX: 1 << 1,
  /** Create requests carry the supplementary group that matters. */
  CREATE_SUPP_GROUP: 1 << 2,
  /** mmap(MAP_SHARED) of files opened with FOPEN_DIRECT_IO. */
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  /** File handles can't be opened again: the guest refuses to make any. */
  NO_EXPORT_SUPPORT: 1 << 6,
  /** Idmapped mounts; requests that create nothing then carry uid and gid -1. */
  ALLOW_IDMAP: 1 << 8,
} as const

/** fuse_setattr_in.valid */
export const FuseSetattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const

/** fuse_open_out.open_flags */
export const FuseOpenFlag = {
  /** Bypass the guest's page cache. */
  DIRECT_IO: 1 << 0,
  /** Don't drop the guest's page cache on open. */
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  /** Let the guest cache this directory. */
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  /** Send no FLUSH at close (unless WRITEBACK_CACHE). */
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
} as const

export const FUSE_GETATTR_FH = 1 << 0
/** fuse_open_in.open_flags, fuse_create_in.open_flags */
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0
/** fuse_write_in.write_flags */
export const FUSE_WRITE_CACHE = 1 << 0
export const FUSE_WRITE_LOCKOWNER = 1 << 1
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2
/** fuse_fsync_in.fsync_flags */
export const FUSE_FSYNC_FDATASYNC = 1 << 0
/** fuse_setxattr_in.setxattr_flags: clear SGID when system.posix_acl_access is set */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0
/** fuse_attr.flags */
export const FUSE_ATTR_SUBMOUNT = 1 << 0
export const FUSE_ATTR_DAX = 1 << 1
/** fuse_setupmapping_in.flags */
export const FUSE_SETUPMAPPING_FLAG_WRITE = 1 << 0
export const FUSE_SETUPMAPPING_FLAG_READ = 1 << 1
/** The most entries in one REMOVEMAPPING: a 4 KiB page of fuse_removemapping_one. */
export const FUSE_REMOVEMAPPING_MAX_ENTRY = 256
/** fuse_ext_header.type up to here: that many security contexts. */
export const FUSE_MAX_NR_SECCTX = 31
/** fuse_ext_header.type */
export const FUSE_EXT_GROUPS = 32

// Structs: byte offset of each field, and SIZE.

/** Before every request. `total_extlen` counts units of 8 bytes at the end of the request. */
export const FuseInHeader = {
  SIZE: 40,
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  total_extlen: 36,
  padding: 38,
} as const

export const FuseOutHeader = { SIZE: 16, len: 0, error: 4, unique: 8 } as const

export const FuseAttr = {
  SIZE: 88,
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimensec: 48,
  mtimensec: 52,
  ctimensec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
} as const

export const FuseEntryOut = {
  SIZE: 128,
  nodeid: 0,
  generation: 8,
  entry_valid: 16,
  attr_valid: 24,
  entry_valid_nsec: 32,
  attr_valid_nsec: 36,
  attr: 40,
} as const

export const FuseAttrOut = { SIZE: 104, attr_valid: 0, attr_valid_nsec: 8, dummy: 12, attr: 16 } as const

export const FuseForgetIn = { SIZE: 8, nlookup: 0 } as const
export const FuseForgetOne = { SIZE: 16, nodeid: 0, nlookup: 8 } as const
export const FuseBatchForgetIn = { SIZE: 8, count: 0, dummy: 4 } as const
export const FuseGetattrIn = { SIZE: 16, getattr_flags: 0, dummy: 4, fh: 8 } as const

export const FuseSetattrIn = {
  SIZE: 88,
  valid: 0,
  padding: 4,
  fh: 8,
  size: 16,
  lock_owner: 24,
  atime: 32,
  mtime: 40,
  ctime: 48,
  atimensec: 56,
  mtimensec: 60,
  ctimensec: 64,
  mode: 68,
  unused4: 72,
  uid: 76,
  gid: 80,
  unused5: 84,
} as const

/** Followed by the name. */
export const FuseMknodIn = { SIZE: 16, mode: 0, rdev: 4, umask: 8, padding: 12 } as const
/** Followed by the name. */
export const FuseMkdirIn = { SIZE: 8, mode: 0, umask: 4 } as const
/** Followed by the old and the new name. */
export const FuseRenameIn = { SIZE: 8, newdir: 0 } as const
/** Followed by the old and the new name. */
export const FuseRename2In = { SIZE: 16, newdir: 0, flags: 8, padding: 12 } as const
/** Followed by the new name. */
export const FuseLinkIn = { SIZE: 8, oldnodeid: 0 } as const
export const FuseOpenIn = { SIZE: 8, flags: 0, open_flags: 4 } as const
/** CREATE and TMPFILE; followed by the name. */
export const FuseCreateIn = { SIZE: 16, flags: 0, mode: 4, umask: 8, open_flags: 12 } as const
export const FuseOpenOut = { SIZE: 16, fh: 0, open_flags: 8, padding: 12 } as const
export const FuseReleaseIn = { SIZE: 24, fh: 0, flags: 8, release_flags: 12, lock_owner: 16 } as const
export const FuseFlushIn = { SIZE: 24, fh: 0, unused: 8, padding: 12, lock_owner: 16 } as const
export const FuseReadIn = {
  SIZE: 40,
  fh: 0,
  offset: 8,
  size: 16,
  read_flags: 20,
  lock_owner: 24,
  flags: 32,
  padding: 36,
} as const
export const FuseWriteIn = {
  SIZE: 40,
  fh: 0,
  offset: 8,
  size: 16,
  write_flags: 20,
  lock_owner: 24,
  flags: 32,
  padding: 36,
} as const
export const FuseWriteOut = { SIZE: 8, size: 0, padding: 4 } as const

/** struct fuse_kstatfs, the whole of struct fuse_statfs_out. */
export const FuseKstatfs = {
  SIZE: 80,
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
  padding: 52,
  spare: 56,
} as const

export const FuseFsyncIn = { SIZE: 16, fh: 0, fsync_flags: 8, padding: 12 } as const
/** Followed by the name and the value; only the first 8 bytes unless SETXATTR_EXT was negotiated. */
export const FuseSetxattrIn = { SIZE: 16, size: 0, flags: 4, setxattr_flags: 8, padding: 12 } as const
export const FUSE_COMPAT_SETXATTR_IN_SIZE = 8
/** GETXATTR (followed by the name) and LISTXATTR. */
export const FuseGetxattrIn = { SIZE: 8, size: 0, padding: 4 } as const
export const FuseGetxattrOut = { SIZE: 8, size: 0, padding: 4 } as const
export const FuseAccessIn = { SIZE: 8, mask: 0, padding: 4 } as const

/** Guests before 7.36 send the first 16 bytes only. */
export const FuseInitIn = {
  SIZE: 64,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  flags2: 16,
  unused: 20,
} as const
export const FUSE_COMPAT_INIT_IN_SIZE = 16

export const FuseInitOut = {
  SIZE: 64,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  max_background: 16,
  congestion_threshold: 18,
  max_write: 20,
  time_gran: 24,
  max_pages: 28,
  map_alignment: 30,
  flags2: 32,
} as const

/** fuse_lk_in.lk_flags: flock(2) instead of fcntl(2) */
export const FUSE_LK_FLOCK = 1 << 0
/** `end` is the last byte. */
export const FuseLkIn = {
  SIZE: 48,
  fh: 0,
  owner: 8,
  'lk.start': 16,
  'lk.end': 24,
  'lk.type': 32,
  'lk.pid': 36,
  lk_flags: 40,
  padding: 44,
} as const
export const FuseLkOut = { SIZE: 24, 'lk.start': 0, 'lk.end': 8, 'lk.type': 16, 'lk.pid': 20 } as const
export const FuseInterruptIn = { SIZE: 8, unique: 0 } as const
export const FuseIoctlIn = { SIZE: 32, fh: 0, flags: 8, cmd: 12, arg: 16, in_size: 24, out_size: 28 } as const
export const FuseIoctlOut = { SIZE: 16, result: 0, flags: 4, in_iovs: 8, out_iovs: 12 } as const
export const FuseFallocateIn = { SIZE: 32, fh: 0, offset: 8, length: 16, mode: 24, padding: 28 } as const
export const FuseLseekIn = { SIZE: 24, fh: 0, offset: 8, whence: 16, padding: 20 } as const
export const FuseLseekOut = { SIZE: 8, offset: 0 } as const
export const FuseCopyFileRangeIn = {
  SIZE: 56,
  fh_in: 0,
  off_in: 8,
  nodeid_out: 16,
  fh_out: 24,
  off_out: 32,
  len: 40,
  flags: 48,
} as const
/** Since 7.45. */
export const FuseCopyFileRangeOut = { SIZE: 8, bytes_copied: 0 } as const

/** Followed by the name, padded to a multiple of 8. */
export const FuseDirent = { SIZE: 24, ino: 0, off: 8, namelen: 16, type: 20, name: 24 } as const
/** struct fuse_entry_out, then struct fuse_dirent. */
export const FuseDirentplus = { SIZE: 152, entry_out: 0, dirent: 128 } as const

export const FuseSetupmappingIn = { SIZE: 40, fh: 0, foffset: 8, len: 16, flags: 24, moffset: 32 } as const
/** Followed, without padding, by `count` times struct fuse_removemapping_one. */
export const FuseRemovemappingIn = { SIZE: 4, count: 0 } as const
export const FuseRemovemappingOne = { SIZE: 16, moffset: 0, len: 8 } as const
export const FuseSyncfsIn = { SIZE: 8, padding: 0 } as const

/** Since 7.39. */
export const FuseStatxIn = { SIZE: 24, getattr_flags: 0, reserved: 4, fh: 8, sx_flags: 16, sx_mask: 20 } as const
/** Since 7.39. */
export const FuseStatx = {
  SIZE: 256,
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  attributes_mask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdev_major: 128,
  rdev_minor: 132,
  dev_major: 136,
  dev_minor: 140,
} as const
/** Since 7.39. */
export const FuseStatxOut = { SIZE: 288, attr_valid: 0, attr_valid_nsec: 8, flags: 12, spare: 16, stat: 32 } as const

/** fuse_ioctl_in.flags: `fh` is that of a directory. */
export const FUSE_IOCTL_DIR = 1 << 4

/** Followed by the name with its NUL and `size` bytes of value. */
export const FuseSecctx = { SIZE: 8, size: 0, padding: 4 } as const
export const FuseExtHeader = { SIZE: 8, size: 0, type: 4 } as const
/** Follows struct fuse_ext_header; then `nr_groups` times u32. Since 7.38. */
export const FuseSuppGroups = { SIZE: 4, nr_groups: 0, groups: 4 } as const
