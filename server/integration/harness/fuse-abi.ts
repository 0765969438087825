// SPDX-License-Identifier: Apache-2.0
/**
 * FUSE as the Linux guest sends it: numbers and struct layouts from <linux/fuse.h>, 7.45. On purpose not shared with
 * server/fuse: what both wrote down independently has to agree.
 */
import { Unpacker } from './wire.ts'

export const Opcode = {
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

/** fuse_init_in/out.flags and, from bit 32 on, flags2. */
export const InitFlag = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  ATOMIC_O_TRUNC: 1n << 3n,
  EXPORT_SUPPORT: 1n << 4n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  FLOCK_LOCKS: 1n << 10n,
  AUTO_INVAL_DATA: 1n << 12n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  WRITEBACK_CACHE: 1n << 16n,
  PARALLEL_DIROPS: 1n << 18n,
  HANDLE_KILLPRIV: 1n << 19n,
  POSIX_ACL: 1n << 20n,
  ABORT_ERROR: 1n << 21n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  MAP_ALIGNMENT: 1n << 26n,
  SUBMOUNTS: 1n << 27n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  SETXATTR_EXT: 1n << 29n,
  INIT_EXT: 1n << 30n,
  SECURITY_CTX: 1n << 32n,
  HAS_INODE_DAX: 1n << 33n,
  CREATE_SUPP_GROUP: 1n << 34n,
} as const

/** fuse_setattr_in.valid */
export const SetAttr = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const

/** fuse_setupmapping_in.flags */
export const MappingFlag = { WRITE: 1, READ: 2 } as const

export const ROOT_ID = 1n
export const IN_HEADER_BYTES = 40
export const OUT_HEADER_BYTES = 16
export const ATTR_BYTES = 88
export const ENTRY_OUT_BYTES = 40 + ATTR_BYTES
export const ATTR_OUT_BYTES = 16 + ATTR_BYTES

/** struct fuse_attr */
export interface Attr {
  readonly ino: bigint
  readonly size: number
  readonly blocks: number
  readonly atime: bigint
  readonly mtime: bigint
  readonly ctime: bigint
  readonly atimensec: number
  readonly mtimensec: number
  readonly ctimensec: number
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly blksize: number
  readonly flags: number
}

/** struct fuse_entry_out */
export interface Entry {
  readonly nodeid: bigint
  readonly generation: bigint
  readonly entryValid: bigint
  readonly attrValid: bigint
  readonly entryValidNsec: number
  readonly attrValidNsec: number
  readonly attr: Attr
}

/** struct fuse_attr: 6 u64, 10 u32. */
export function readAttr(from: Unpacker): Attr {
  return {
    ino: from.u64(),
    size: from.number(),
    blocks: from.number(),
    atime: from.u64(),
    mtime: from.u64(),
    ctime: from.u64(),
    atimensec: from.u32(),
    mtimensec: from.u32(),
    ctimensec: from.u32(),
    mode: from.u32(),
    nlink: from.u32(),
    uid: from.u32(),
    gid: from.u32(),
    rdev: from.u32(),
    blksize: from.u32(),
    flags: from.u32(),
  }
}

/** struct fuse_entry_out */
export function readEntry(from: Unpacker): Entry {
  return {
    nodeid: from.u64(),
    generation: from.u64(),
    entryValid: from.u64(),
    attrValid: from.u64(),
    entryValidNsec: from.u32(),
    attrValidNsec: from.u32(),
    attr: readAttr(from),
  }
}

/** struct fuse_dirent, with the entry of a READDIRPLUS before it. */
export interface DirectoryEntry {
  readonly ino: bigint
  readonly offset: bigint
  readonly type: number
  /** The name's bytes as latin1, one character a byte. */
  readonly name: string
  readonly entry: Entry | undefined
}

/** The body of a READDIR or READDIRPLUS reply. Throws where the last entry is cut or padding is wrong. */
export function readDirectory(body: Uint8Array, plus: boolean): DirectoryEntry[] {
  const from = new Unpacker(body)
  const entries: DirectoryEntry[] = []
  while (from.remaining > 0) {
    const entry = plus ? readEntry(from) : undefined
    const ino = from.u64()
    const offset = from.u64()
    const nameLength = from.u32()
    const type = from.u32()
    const name = Buffer.from(from.take(nameLength)).toString('latin1')
    from.take((8 - (nameLength % 8)) % 8)
    entries.push({ ino, offset, type, name, entry })
  }
  return entries
}

/** struct fuse_init_out, its first 64 bytes. */
export interface InitReply {
  readonly major: number
  readonly minor: number
  readonly maxReadahead: number
  readonly flags: bigint
  readonly maxBackground: number
  readonly congestionThreshold: number
  readonly maxWrite: number
  readonly timeGran: number
  readonly maxPages: number
  readonly mapAlignment: number
}

export function readInit(body: Uint8Array): InitReply {
  const from = new Unpacker(body)
  const major = from.u32()
  const minor = from.u32()
  const maxReadahead = from.u32()
  const low = from.u32()
  const maxBackground = from.u16()
  const congestionThreshold = from.u16()
  const maxWrite = from.u32()
  const timeGran = from.u32()
  const maxPages = from.u16()
  const mapAlignment = from.u16()
  const high = from.u32()
  return {
    major,
    minor,
    maxReadahead,
    flags: BigInt(low) | (BigInt(high) << 32n),
    maxBackground,
    congestionThreshold,
    maxWrite,
    timeGran,
    maxPages,
    mapAlignment,
  }
}
