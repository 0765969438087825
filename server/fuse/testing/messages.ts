// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's side of the FUSE protocol, for tests: requests as bytes, replies as objects. Layouts come from abi.ts,
 * which a test compares with the C header.
 */
import {
  FUSE_ROOT_ID,
  FuseAttr,
  FuseAttrOut,
  FuseBatchForgetIn,
  FuseCopyFileRangeIn,
  FuseCreateIn,
  FuseDirent,
  FuseDirentplus,
  FuseEntryOut,
  FuseExtHeader,
  FuseFallocateIn,
  FuseFlushIn,
  FuseForgetIn,
  FuseForgetOne,
  FuseFsyncIn,
  FuseGetattrIn,
  FuseGetxattrIn,
  FuseInHeader,
  FuseInitIn,
  FuseInitOut,
  FuseIoctlIn,
  FuseLinkIn,
  FuseLseekIn,
  FuseMkdirIn,
  FuseMknodIn,
  FuseOpcode,
  FuseOpenIn,
  FuseOpenOut,
  FuseReadIn,
  FuseReleaseIn,
  FuseRemovemappingIn,
  FuseRemovemappingOne,
  FuseRename2In,
  FuseRenameIn,
  FuseSecctx,
  FuseSetattrIn,
  FuseSetupmappingIn,
  FuseSetxattrIn,
  FuseStatxIn,
  FuseSyncfsIn,
  FuseWriteIn,
} from '../abi.ts'

/** A struct's layout as abi.ts has it. */
export type Layout = { readonly SIZE: number } & Readonly<Record<string, number>>

/** `fh` of a SETUPMAPPING by nodeid. */
export const NO_HANDLE = 0xffff_ffff_ffff_ffffn

type Value = number | bigint

/** Fields that are narrower or wider than their distance to the next one says. */
const FIELD_WIDTHS: Readonly<Record<string, number>> = { total_extlen: 2, padding16: 2 }

function fieldWidth(layout: Layout, field: string): number {
  const fixed = FIELD_WIDTHS[field]
  if (fixed !== undefined) return fixed
  const start = layout[field] ?? 0
  const next = Math.min(...Object.values(layout).filter((offset) => offset > start))
  return next - start >= 8 && start % 8 === 0 ? 8 : next - start >= 4 ? 4 : 2
}

/** A struct as bytes; fields that are not given are zero. */
export function encodeStruct(layout: Layout, fields: Readonly<Record<string, Value>>): Uint8Array {
  const bytes = new Uint8Array(layout.SIZE)
  const view = new DataView(bytes.buffer)
  for (const [field, value] of Object.entries(fields)) {
    const offset = layout[field]
    if (offset === undefined || field === 'SIZE') throw new Error(`no field ${field}`)
    const width = fieldWidth(layout, field)
    if (width === 8) view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true)
    else if (width === 4) view.setUint32(offset, Number(value), true)
    else view.setUint16(offset, Number(value), true)
  }
  return bytes
}

/** A name with its NUL; strings are UTF-8. */
export function encodeName(name: string | Uint8Array): Uint8Array {
  const bytes = typeof name === 'string' ? new TextEncoder().encode(name) : name
  const terminated = new Uint8Array(bytes.length + 1)
  terminated.set(bytes)
  return terminated
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

export interface HeaderFields {
  nodeid?: Value
  unique?: Value
  uid?: number
  gid?: number
  pid?: number
  /** The supplementary group extension of create requests. */
  groups?: readonly number[]
  /** The security context extension. */
  label?: { name: string; value: Uint8Array }
}

/** One security context, as struct fuse_secctx_header (which is a struct fuse_ext_header) and what follows it. */
export function encodeLabel(label: { name: string; value: Uint8Array }): Uint8Array {
  const name = encodeName(label.name)
  const size = (FuseExtHeader.SIZE + FuseSecctx.SIZE + name.length + label.value.length + 7) & ~7
  const parts = concat(
    encodeStruct(FuseExtHeader, { size, type: 1 }),
    encodeStruct(FuseSecctx, { size: label.value.length }),
    name,
    label.value,
  )
  return concat(parts, new Uint8Array(size - parts.length))
}

/** struct fuse_ext_header and struct fuse_supp_groups, padded to 8 bytes. */
function encodeGroups(groups: readonly number[]): Uint8Array {
  const size = FuseExtHeader.SIZE + 4 + groups.length * 4
  const padding = new Uint8Array(-size & 7)
  const header = encodeStruct(FuseExtHeader, { size: size + padding.length, type: 32 })
  return concat(header, new Uint8Array(new Uint32Array([groups.length, ...groups]).buffer), padding)
}

/** A whole message: header, body parts, extensions. */
export function encodeRequest(opcode: number, header: HeaderFields, ...body: readonly Uint8Array[]): Uint8Array {
  const groups = header.groups === undefined ? new Uint8Array(0) : encodeGroups(header.groups)
  const extension = concat(header.label === undefined ? new Uint8Array(0) : encodeLabel(header.label), groups)
  const length = FuseInHeader.SIZE + body.reduce((sum, part) => sum + part.length, 0) + extension.length
  const head = encodeStruct(FuseInHeader, {
    len: length,
    opcode,
    unique: header.unique ?? 1,
    nodeid: header.nodeid ?? FUSE_ROOT_ID,
    uid: header.uid ?? 0,
    gid: header.gid ?? 0,
    pid: header.pid ?? 1,
    total_extlen: extension.length / 8,
  })
  return concat(head, ...body, extension)
}

type Name = string | Uint8Array
/** uid, gid, group of whoever asks. */
type By = Omit<HeaderFields, 'nodeid'>

/** One function an operation; the first argument is the header's nodeid where the operation has one. */
export const requests = {
  init: (fields: { major?: number; minor?: number; maxReadahead?: number; flags?: number; flags2?: number } = {}) =>
    encodeRequest(
      FuseOpcode.INIT,
      { nodeid: 0 },
      encodeStruct(FuseInitIn, {
        major: fields.major ?? 7,
        minor: fields.minor ?? 46,
        max_readahead: fields.maxReadahead ?? 131072,
        flags: fields.flags ?? 0,
        flags2: fields.flags2 ?? 0,
      }),
    ),
  destroy: () => encodeRequest(FuseOpcode.DESTROY, { nodeid: 0 }),
  lookup: (nodeid: Value, name: Name) => encodeRequest(FuseOpcode.LOOKUP, { nodeid }, encodeName(name)),
  forget: (nodeid: Value, nlookup: Value) =>
    encodeRequest(FuseOpcode.FORGET, { nodeid }, encodeStruct(FuseForgetIn, { nlookup })),
  batchForget: (entries: readonly (readonly [Value, Value])[]) =>
    encodeRequest(
      FuseOpcode.BATCH_FORGET,
      { nodeid: 0 },
      encodeStruct(FuseBatchForgetIn, { count: entries.length }),
      ...entries.map(([nodeid, nlookup]) => encodeStruct(FuseForgetOne, { nodeid, nlookup })),
    ),
  getattr: (nodeid: Value) => encodeRequest(FuseOpcode.GETATTR, { nodeid }, encodeStruct(FuseGetattrIn, {})),
  setattr: (nodeid: Value, fields: Partial<Record<Exclude<keyof typeof FuseSetattrIn, 'SIZE'>, Value>>) =>
    encodeRequest(FuseOpcode.SETATTR, { nodeid }, encodeStruct(FuseSetattrIn, fields)),
  statx: (nodeid: Value, mask: number) =>
    encodeRequest(FuseOpcode.STATX, { nodeid }, encodeStruct(FuseStatxIn, { sx_mask: mask })),
  readlink: (nodeid: Value) => encodeRequest(FuseOpcode.READLINK, { nodeid }),
  symlink: (nodeid: Value, name: Name, target: Name, by: By = {}) =>
    encodeRequest(FuseOpcode.SYMLINK, { nodeid, ...by }, encodeName(name), encodeName(target)),
  mknod: (nodeid: Value, name: Name, mode: number, rdev = 0, umask = 0, by: By = {}) =>
    encodeRequest(
      FuseOpcode.MKNOD,
      { nodeid, ...by },
      encodeStruct(FuseMknodIn, { mode, rdev, umask }),
      encodeName(name),
    ),
  mkdir: (nodeid: Value, name: Name, mode: number, umask = 0, by: By = {}) =>
    encodeRequest(FuseOpcode.MKDIR, { nodeid, ...by }, encodeStruct(FuseMkdirIn, { mode, umask }), encodeName(name)),
  unlink: (nodeid: Value, name: Name) => encodeRequest(FuseOpcode.UNLINK, { nodeid }, encodeName(name)),
  rmdir: (nodeid: Value, name: Name) => encodeRequest(FuseOpcode.RMDIR, { nodeid }, encodeName(name)),
  rename: (nodeid: Value, name: Name, newdir: Value, newName: Name) =>
    encodeRequest(
      FuseOpcode.RENAME,
      { nodeid },
      encodeStruct(FuseRenameIn, { newdir }),
      encodeName(name),
      encodeName(newName),
    ),
  rename2: (nodeid: Value, name: Name, newdir: Value, newName: Name, flags: number) =>
    encodeRequest(
      FuseOpcode.RENAME2,
      { nodeid },
      encodeStruct(FuseRename2In, { newdir, flags }),
      encodeName(name),
      encodeName(newName),
    ),
  link: (newParent: Value, newName: Name, oldnodeid: Value) =>
    encodeRequest(FuseOpcode.LINK, { nodeid: newParent }, encodeStruct(FuseLinkIn, { oldnodeid }), encodeName(newName)),
  open: (nodeid: Value, flags: number, openFlags = 0, by: By = {}) =>
    encodeRequest(FuseOpcode.OPEN, { nodeid, ...by }, encodeStruct(FuseOpenIn, { flags, open_flags: openFlags })),
  create: (nodeid: Value, name: Name, flags: number, mode: number, umask = 0, by: By = {}) =>
    encodeRequest(
      FuseOpcode.CREATE,
      { nodeid, ...by },
      encodeStruct(FuseCreateIn, { flags, mode, umask }),
      encodeName(name),
    ),
  tmpfile: (nodeid: Value, flags: number, mode: number, by: By = {}) =>
    encodeRequest(
      FuseOpcode.TMPFILE,
      { nodeid, ...by },
      encodeStruct(FuseCreateIn, { flags, mode, umask: 0 }),
      encodeName('/'),
    ),
  read: (nodeid: Value, fh: Value, offset: Value, size: number) =>
    encodeRequest(FuseOpcode.READ, { nodeid }, encodeStruct(FuseReadIn, { fh, offset, size })),
  write: (nodeid: Value, fh: Value, offset: Value, data: Uint8Array, flags = 0, writeFlags = 0) =>
    encodeRequest(
      FuseOpcode.WRITE,
      { nodeid },
      encodeStruct(FuseWriteIn, { fh, offset, size: data.length, flags, write_flags: writeFlags }),
      data,
    ),
  statfs: (nodeid: Value) => encodeRequest(FuseOpcode.STATFS, { nodeid }),
  release: (nodeid: Value, fh: Value) =>
    encodeRequest(FuseOpcode.RELEASE, { nodeid }, encodeStruct(FuseReleaseIn, { fh })),
  flush: (nodeid: Value, fh: Value) => encodeRequest(FuseOpcode.FLUSH, { nodeid }, encodeStruct(FuseFlushIn, { fh })),
  fsync: (nodeid: Value, fh: Value, flags = 0) =>
    encodeRequest(FuseOpcode.FSYNC, { nodeid }, encodeStruct(FuseFsyncIn, { fh, fsync_flags: flags })),
  /** `extended`: SETXATTR_EXT was negotiated. */
  setxattr: (nodeid: Value, name: Name, value: Uint8Array, flags = 0, extended = false) =>
    encodeRequest(
      FuseOpcode.SETXATTR,
      { nodeid },
      encodeStruct(FuseSetxattrIn, { size: value.length, flags }).subarray(0, extended ? 16 : 8),
      encodeName(name),
      value,
    ),
  getxattr: (nodeid: Value, name: Name, size: number) =>
    encodeRequest(FuseOpcode.GETXATTR, { nodeid }, encodeStruct(FuseGetxattrIn, { size }), encodeName(name)),
  listxattr: (nodeid: Value, size: number) =>
    encodeRequest(FuseOpcode.LISTXATTR, { nodeid }, encodeStruct(FuseGetxattrIn, { size })),
  removexattr: (nodeid: Value, name: Name) => encodeRequest(FuseOpcode.REMOVEXATTR, { nodeid }, encodeName(name)),
  opendir: (nodeid: Value, flags = 0) =>
    encodeRequest(FuseOpcode.OPENDIR, { nodeid }, encodeStruct(FuseOpenIn, { flags })),
  readdir: (nodeid: Value, fh: Value, offset: Value, size: number) =>
    encodeRequest(FuseOpcode.READDIR, { nodeid }, encodeStruct(FuseReadIn, { fh, offset, size })),
  readdirplus: (nodeid: Value, fh: Value, offset: Value, size: number) =>
    encodeRequest(FuseOpcode.READDIRPLUS, { nodeid }, encodeStruct(FuseReadIn, { fh, offset, size })),
  releasedir: (nodeid: Value, fh: Value) =>
    encodeRequest(FuseOpcode.RELEASEDIR, { nodeid }, encodeStruct(FuseReleaseIn, { fh })),
  fsyncdir: (nodeid: Value, fh: Value, flags = 0) =>
    encodeRequest(FuseOpcode.FSYNCDIR, { nodeid }, encodeStruct(FuseFsyncIn, { fh, fsync_flags: flags })),
  ioctl: (nodeid: Value, fh: Value, cmd: number, argument: Uint8Array = new Uint8Array(0), outSize = 64, flags = 0) =>
    encodeRequest(
      FuseOpcode.IOCTL,
      { nodeid },
      encodeStruct(FuseIoctlIn, { fh, cmd, flags, in_size: argument.length, out_size: outSize }),
      argument,
    ),
  fallocate: (nodeid: Value, fh: Value, mode: number, offset: Value, length: Value) =>
    encodeRequest(FuseOpcode.FALLOCATE, { nodeid }, encodeStruct(FuseFallocateIn, { fh, mode, offset, length })),
  lseek: (nodeid: Value, fh: Value, offset: Value, whence: number) =>
    encodeRequest(FuseOpcode.LSEEK, { nodeid }, encodeStruct(FuseLseekIn, { fh, offset, whence })),
  copyFileRange: (
    nodeid: Value,
    fields: Partial<Record<Exclude<keyof typeof FuseCopyFileRangeIn, 'SIZE'>, Value>>,
    opcode: number = FuseOpcode.COPY_FILE_RANGE,
  ) => encodeRequest(opcode, { nodeid }, encodeStruct(FuseCopyFileRangeIn, fields)),
  /** `flags`: 1 write, 2 read. */
  setupmapping: (nodeid: Value, foffset: Value, len: Value, moffset: Value, flags: Value, fh: Value = NO_HANDLE) =>
    encodeRequest(
      FuseOpcode.SETUPMAPPING,
      { nodeid },
      encodeStruct(FuseSetupmappingIn, { fh, foffset, len, flags, moffset }),
    ),
  removemapping: (entries: readonly (readonly [Value, Value])[], nodeid: Value = FUSE_ROOT_ID) =>
    encodeRequest(
      FuseOpcode.REMOVEMAPPING,
      { nodeid },
      encodeStruct(FuseRemovemappingIn, { count: entries.length }),
      ...entries.map(([moffset, len]) => encodeStruct(FuseRemovemappingOne, { moffset, len })),
    ),
  syncfs: (nodeid: Value) => encodeRequest(FuseOpcode.SYNCFS, { nodeid }, encodeStruct(FuseSyncfsIn, {})),
} as const

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A struct as an object; u64 fields become numbers (rounded above 2^53). */
export function decodeStruct(layout: Layout, bytes: Uint8Array, offset = 0): Record<string, number> {
  const view = viewOf(bytes)
  const result: Record<string, number> = {}
  for (const [field, position] of Object.entries(layout)) {
    if (field === 'SIZE') continue
    const width = fieldWidth(layout, field)
    const at = offset + position
    if (width === 8) result[field] = Number(view.getBigUint64(at, true))
    else result[field] = width === 4 ? view.getUint32(at, true) : view.getUint16(at, true)
  }
  return result
}

export interface Attributes {
  ino: number
  size: number
  blocks: number
  atime: number
  mtime: number
  ctime: number
  atimensec: number
  mtimensec: number
  ctimensec: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  blksize: number
  flags: number
}

export function decodeAttributes(bytes: Uint8Array, offset: number): Attributes {
  const view = viewOf(bytes)
  const u64 = (field: number): number => Number(view.getBigUint64(offset + field, true))
  const u32 = (field: number): number => view.getUint32(offset + field, true)
  return {
    ino: u64(FuseAttr.ino),
    size: u64(FuseAttr.size),
    blocks: u64(FuseAttr.blocks),
    atime: u64(FuseAttr.atime),
    mtime: u64(FuseAttr.mtime),
    ctime: u64(FuseAttr.ctime),
    atimensec: u32(FuseAttr.atimensec),
    mtimensec: u32(FuseAttr.mtimensec),
    ctimensec: u32(FuseAttr.ctimensec),
    mode: u32(FuseAttr.mode),
    nlink: u32(FuseAttr.nlink),
    uid: u32(FuseAttr.uid),
    gid: u32(FuseAttr.gid),
    rdev: u32(FuseAttr.rdev),
    blksize: u32(FuseAttr.blksize),
    flags: u32(FuseAttr.flags),
  }
}

export interface Entry {
  nodeid: number
  generation: number
  entryValid: number
  attrValid: number
  attributes: Attributes
}

export function decodeEntry(bytes: Uint8Array, offset = 0): Entry {
  const view = viewOf(bytes)
  return {
    nodeid: Number(view.getBigUint64(offset + FuseEntryOut.nodeid, true)),
    generation: Number(view.getBigUint64(offset + FuseEntryOut.generation, true)),
    entryValid: Number(view.getBigUint64(offset + FuseEntryOut.entry_valid, true)),
    attrValid: Number(view.getBigUint64(offset + FuseEntryOut.attr_valid, true)),
    attributes: decodeAttributes(bytes, offset + FuseEntryOut.attr),
  }
}

/** The reply to GETATTR and SETATTR. */
export function decodeAttrOut(bytes: Uint8Array): Attributes {
  return decodeAttributes(bytes, FuseAttrOut.attr)
}

export function decodeOpenOut(bytes: Uint8Array, offset = 0): { fh: number; openFlags: number } {
  const view = viewOf(bytes)
  return {
    fh: Number(view.getBigUint64(offset + FuseOpenOut.fh, true)),
    openFlags: view.getUint32(offset + FuseOpenOut.open_flags, true),
  }
}

export interface InitReply {
  major: number
  minor: number
  maxReadahead: number
  flags: number
  flags2: number
  maxWrite: number
  maxPages: number
  mapAlignment: number
}

export function decodeInitOut(bytes: Uint8Array): InitReply {
  const view = viewOf(bytes)
  return {
    major: view.getUint32(FuseInitOut.major, true),
    minor: view.getUint32(FuseInitOut.minor, true),
    maxReadahead: view.getUint32(FuseInitOut.max_readahead, true),
    flags: view.getInt32(FuseInitOut.flags, true),
    flags2: view.getInt32(FuseInitOut.flags2, true),
    maxWrite: view.getUint32(FuseInitOut.max_write, true),
    maxPages: view.getUint16(FuseInitOut.max_pages, true),
    mapAlignment: view.getUint16(FuseInitOut.map_alignment, true),
  }
}

export interface DirectoryEntry {
  ino: number
  /** Position of the next entry, for the next READDIR. */
  off: bigint
  type: number
  name: Uint8Array
  /** READDIRPLUS only. */
  entry?: Entry
}

/** All entries of a READDIR or READDIRPLUS reply. */
export function decodeDirectory(body: Uint8Array, plus: boolean): DirectoryEntry[] {
  const view = viewOf(body)
  const entries: DirectoryEntry[] = []
  let position = 0
  while (position < body.length) {
    const dirent = position + (plus ? FuseDirentplus.dirent : 0)
    const length = view.getUint32(dirent + FuseDirent.namelen, true)
    const start = dirent + FuseDirent.name
    if (start + length > body.length) throw new Error('an entry leaves the reply')
    entries.push({
      ino: Number(view.getBigUint64(dirent + FuseDirent.ino, true)),
      off: view.getBigUint64(dirent + FuseDirent.off, true),
      type: view.getUint32(dirent + FuseDirent.type, true),
      name: body.slice(start, start + length),
      ...(plus ? { entry: decodeEntry(body, position) } : {}),
    })
    position = (start + length + 7) & ~7
  }
  return entries
}
