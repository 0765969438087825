// SPDX-License-Identifier: Apache-2.0
/** One method for each FUSE operation, as the guest's kernel would send it. Node ids and handles are bigints. */
import { constants } from 'node:os'
import {
  ATTR_OUT_BYTES,
  type Attr,
  type DirectoryEntry,
  ENTRY_OUT_BYTES,
  type Entry,
  InitFlag,
  type InitReply,
  Opcode,
  readAttr,
  readDirectory,
  readEntry,
  readInit,
} from './fuse-abi.ts'
import { FuseError, type FuseTransport, type PendingRequest, type RequestOptions } from './fuse-transport.ts'
import type { Segment } from './guest-memory.ts'
import { cString, pack, Unpacker } from './wire.ts'

/** A file name: text, or any bytes. */
export type Name = string | Uint8Array

/** What SETATTR changes. */
export interface Changes {
  readonly valid: number
  readonly fh?: bigint
  readonly size?: number
  readonly atime?: number
  readonly mtime?: number
  readonly atimensec?: number
  readonly mtimensec?: number
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** Flags of a WRITE. */
export interface WriteFlags {
  /** fuse_write_in.write_flags */
  readonly write?: number
  /** fuse_write_in.flags: those of the guest's open file */
  readonly open?: number
}

/** What Linux 6.12 offers on a virtio-fs mount. */
export const GUEST_INIT_FLAGS =
  InitFlag.ASYNC_READ |
  InitFlag.POSIX_LOCKS |
  InitFlag.ATOMIC_O_TRUNC |
  InitFlag.EXPORT_SUPPORT |
  InitFlag.BIG_WRITES |
  InitFlag.DONT_MASK |
  InitFlag.FLOCK_LOCKS |
  InitFlag.AUTO_INVAL_DATA |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.ASYNC_DIO |
  InitFlag.WRITEBACK_CACHE |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.HANDLE_KILLPRIV |
  InitFlag.POSIX_ACL |
  InitFlag.ABORT_ERROR |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.EXPLICIT_INVAL_DATA |
  InitFlag.SUBMOUNTS |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.SETXATTR_EXT |
  InitFlag.INIT_EXT |
  InitFlag.SECURITY_CTX |
  InitFlag.CREATE_SUPP_GROUP

/** Requests on a transport; every method waits for the reply and throws FuseError for an error. */
export class FuseClient {
  readonly transport: FuseTransport

  constructor(transport: FuseTransport) {
    this.transport = transport
  }

  /** struct fuse_init_in: 64 bytes */
  init(flags = GUEST_INIT_FLAGS, minor = 46): InitReply {
    return readInit(this.transport.wait(this.startInit(flags, minor)))
  }

  startInit(flags = GUEST_INIT_FLAGS, minor = 46): PendingRequest {
    const args = pack(
      ['u32', 7],
      ['u32', minor],
      ['u32', 128 << 10],
      ['u32', flags & 0xffff_ffffn],
      ['u32', flags >> 32n],
      new Uint8Array(44),
    )
    return this.transport.submit(Opcode.INIT, 0n, args, { replyBytes: 64 })
  }

  destroy(): void {
    this.transport.call(Opcode.DESTROY, 0n)
  }

  #entry(opcode: number, nodeid: bigint, args: Uint8Array, options: RequestOptions = {}): Entry {
    return exactly(
      this.transport.call(opcode, nodeid, args, { ...options, replyBytes: ENTRY_OUT_BYTES }),
      ENTRY_OUT_BYTES,
      readEntry,
    )
  }

  lookup(parent: bigint, name: Name, options?: RequestOptions): Entry {
    const entry = this.#entry(Opcode.LOOKUP, parent, cString(name), options)
    // Which the guest may keep for as long as `entryValid` says.
    if (entry.nodeid === 0n) throw new FuseError(Opcode.LOOKUP, -constants.errno.ENOENT)
    return entry
  }

  /** Looks names up one after the other from the root on. */
  walk(path: string): Entry {
    const [first = '', ...rest] = path.split('/')
    let entry = this.lookup(1n, first)
    for (const name of rest) {
      entry = this.lookup(entry.nodeid, name)
    }
    return entry
  }

  forget(nodeid: bigint, lookups: number, options: RequestOptions = {}): void {
    const args = pack(['u64', lookups])
    const pending = this.transport.submit(Opcode.FORGET, nodeid, args, { ...options, noReply: true })
    this.transport.waitFor(() => pending.done, 'FORGET')
  }

  batchForget(entries: readonly { nodeid: bigint; lookups: number }[], options: RequestOptions = {}): void {
    const args = pack(
      ['u32', entries.length],
      ['u32', 0],
      ...entries.map(({ nodeid, lookups }) => pack(['u64', nodeid], ['u64', lookups])),
    )
    const pending = this.transport.submit(Opcode.BATCH_FORGET, 0n, args, { ...options, noReply: true })
    this.transport.waitFor(() => pending.done, 'BATCH_FORGET')
  }

  #attr(opcode: number, nodeid: bigint, args: Uint8Array): Attr {
    const body = this.transport.call(opcode, nodeid, args, { replyBytes: ATTR_OUT_BYTES })
    return exactly(body, ATTR_OUT_BYTES, (from) => {
      from.take(16)
      return readAttr(from)
    })
  }

  getattr(nodeid: bigint, fh?: bigint): Attr {
    const args = pack(['u32', fh === undefined ? 0 : 1], ['u32', 0], ['u64', fh ?? 0n])
    return this.#attr(Opcode.GETATTR, nodeid, args)
  }

  /** struct fuse_setattr_in: 88 bytes */
  setattr(nodeid: bigint, changes: Changes): Attr {
    const args = pack(
      ['u32', changes.valid],
      ['u32', 0],
      ['u64', changes.fh ?? 0n],
      ['u64', changes.size ?? 0],
      ['u64', 0],
      ['u64', changes.atime ?? 0],
      ['u64', changes.mtime ?? 0],
      ['u64', 0],
      ['u32', changes.atimensec ?? 0],
      ['u32', changes.mtimensec ?? 0],
      ['u32', 0],
      ['u32', changes.mode ?? 0],
      ['u32', 0],
      ['u32', changes.uid ?? 0],
      ['u32', changes.gid ?? 0],
      ['u32', 0],
    )
    return this.#attr(Opcode.SETATTR, nodeid, args)
  }

  readlink(nodeid: bigint): Uint8Array {
    return this.transport.call(Opcode.READLINK, nodeid, undefined, { dataRoom: 4096 })
  }

  symlink(parent: bigint, name: Name, target: Name): Entry {
    return this.#entry(Opcode.SYMLINK, parent, pack(cString(name), cString(target)))
  }

  mknod(parent: bigint, name: Name, mode: number, rdev = 0, umask = 0o22): Entry {
    return this.#entry(
      Opcode.MKNOD,
      parent,
      pack(['u32', mode], ['u32', rdev], ['u32', umask], ['u32', 0], cString(name)),
    )
  }

  mkdir(parent: bigint, name: Name, mode = 0o755, umask = 0o22): Entry {
    return this.#entry(Opcode.MKDIR, parent, pack(['u32', mode], ['u32', umask], cString(name)))
  }

  unlink(parent: bigint, name: Name): void {
    this.transport.call(Opcode.UNLINK, parent, cString(name))
  }

  rmdir(parent: bigint, name: Name): void {
    this.transport.call(Opcode.RMDIR, parent, cString(name))
  }

  rename(parent: bigint, name: Name, newParent: bigint, newName: Name): void {
    this.transport.call(Opcode.RENAME, parent, pack(['u64', newParent], cString(name), cString(newName)))
  }

  rename2(parent: bigint, name: Name, newParent: bigint, newName: Name, flags: number): void {
    const args = pack(['u64', newParent], ['u32', flags], ['u32', 0], cString(name), cString(newName))
    this.transport.call(Opcode.RENAME2, parent, args)
  }

  link(nodeid: bigint, newParent: bigint, newName: Name): Entry {
    return this.#entry(Opcode.LINK, newParent, pack(['u64', nodeid], cString(newName)))
  }

  #open(opcode: number, nodeid: bigint, flags: number): { fh: bigint; openFlags: number } {
    const body = this.transport.call(opcode, nodeid, pack(['u32', flags], ['u32', 0]), { replyBytes: 16 })
    return exactly(body, 16, readOpen)
  }

  open(nodeid: bigint, flags: number): bigint {
    return this.#open(Opcode.OPEN, nodeid, flags).fh
  }

  opendir(nodeid: bigint): bigint {
    return this.#open(Opcode.OPENDIR, nodeid, 0).fh
  }

  create(parent: bigint, name: Name, flags: number, mode = 0o644, umask = 0o22): { entry: Entry; fh: bigint } {
    const args = pack(['u32', flags], ['u32', mode], ['u32', umask], ['u32', 0], cString(name))
    const body = this.transport.call(Opcode.CREATE, parent, args, { replyBytes: ENTRY_OUT_BYTES + 16 })
    return exactly(body, ENTRY_OUT_BYTES + 16, (from) => ({ entry: readEntry(from), fh: readOpen(from).fh }))
  }

  /** struct fuse_create_in as for CREATE, and a name, which Linux sends as "/". */
  tmpfile(parent: bigint, flags: number, mode = 0o600): { entry: Entry; fh: bigint } {
    const args = pack(['u32', flags], ['u32', mode], ['u32', 0], ['u32', 0], cString('/'))
    const body = this.transport.call(Opcode.TMPFILE, parent, args, { replyBytes: ENTRY_OUT_BYTES + 16 })
    return exactly(body, ENTRY_OUT_BYTES + 16, (from) => ({ entry: readEntry(from), fh: readOpen(from).fh }))
  }

  /** struct fuse_read_in: 40 bytes */
  startRead(
    nodeid: bigint,
    fh: bigint,
    offset: number,
    size: number,
    into?: readonly Segment[],
    options: RequestOptions = {},
  ): PendingRequest {
    const args = pack(['u64', fh], ['u64', offset], ['u32', size], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', 0])
    return this.transport.submit(Opcode.READ, nodeid, args, { ...options, dataRoom: into ?? size })
  }

  /** @param into where the data shall go instead; then only the count matters: see `PendingRequest.usedLength` */
  read(nodeid: bigint, fh: bigint, offset: number, size: number, into?: readonly Segment[]): Uint8Array {
    return this.transport.wait(this.startRead(nodeid, fh, offset, size, into))
  }

  /** struct fuse_write_in: 40 bytes */
  startWrite(
    nodeid: bigint,
    fh: bigint,
    offset: number,
    data: Uint8Array | readonly Segment[],
    flags: WriteFlags = {},
    options: RequestOptions = {},
  ): PendingRequest {
    const size = data instanceof Uint8Array ? data.length : data.reduce((sum, s) => sum + s.length, 0)
    const args = pack(
      ['u64', fh],
      ['u64', offset],
      ['u32', size],
      ['u32', flags.write ?? 0],
      ['u64', 0],
      ['u32', flags.open ?? 0],
      ['u32', 0],
    )
    return this.transport.submit(Opcode.WRITE, nodeid, args, { ...options, data, replyBytes: 8 })
  }

  /** @returns bytes written */
  write(
    nodeid: bigint,
    fh: bigint,
    offset: number,
    data: Uint8Array | readonly Segment[],
    flags: WriteFlags = {},
    options: RequestOptions = {},
  ): number {
    const body = this.transport.wait(this.startWrite(nodeid, fh, offset, data, flags, options))
    return exactly(body, 8, (from) => from.u32())
  }

  /** struct fuse_kstatfs: 80 bytes */
  statfs(nodeid: bigint): { blocks: bigint; bfree: bigint; bsize: number; namelen: number; frsize: number } {
    return exactly(this.transport.call(Opcode.STATFS, nodeid, undefined, { replyBytes: 80 }), 80, (from) => {
      const blocks = from.u64()
      const bfree = from.u64()
      from.take(24)
      return { blocks, bfree, bsize: from.u32(), namelen: from.u32(), frsize: from.u32() }
    })
  }

  release(nodeid: bigint, fh: bigint, flags = 0): void {
    this.transport.call(Opcode.RELEASE, nodeid, pack(['u64', fh], ['u32', flags], ['u32', 0], ['u64', 0]))
  }

  releasedir(nodeid: bigint, fh: bigint): void {
    this.transport.call(Opcode.RELEASEDIR, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', 0]))
  }

  flush(nodeid: bigint, fh: bigint): void {
    this.transport.call(Opcode.FLUSH, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', 1]))
  }

  fsync(nodeid: bigint, fh: bigint, dataOnly = false): void {
    this.transport.call(Opcode.FSYNC, nodeid, pack(['u64', fh], ['u32', dataOnly ? 1 : 0], ['u32', 0]))
  }

  fsyncdir(nodeid: bigint, fh: bigint): void {
    this.transport.call(Opcode.FSYNCDIR, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0]))
  }

  /** The form without SETXATTR_EXT: struct fuse_setxattr_in of 8 bytes. */
  setxattr(nodeid: bigint, name: Name, value: Uint8Array, flags = 0): void {
    this.transport.call(Opcode.SETXATTR, nodeid, pack(['u32', value.length], ['u32', flags], cString(name), value))
  }

  /** With room 0 asks for the size alone. */
  getxattr(nodeid: bigint, name: Name, room: number): Uint8Array | number {
    const args = pack(['u32', room], ['u32', 0], cString(name))
    return this.#xattrReply(Opcode.GETXATTR, nodeid, args, room)
  }

  listxattr(nodeid: bigint, room: number): Uint8Array | number {
    return this.#xattrReply(Opcode.LISTXATTR, nodeid, pack(['u32', room], ['u32', 0]), room)
  }

  #xattrReply(opcode: number, nodeid: bigint, args: Uint8Array, room: number): Uint8Array | number {
    if (room === 0) {
      return exactly(this.transport.call(opcode, nodeid, args, { replyBytes: 8 }), 8, (from) => from.u32())
    }
    return this.transport.call(opcode, nodeid, args, { dataRoom: room })
  }

  removexattr(nodeid: bigint, name: Name): void {
    this.transport.call(Opcode.REMOVEXATTR, nodeid, cString(name))
  }

  #readDirectory(opcode: number, nodeid: bigint, fh: bigint, offset: bigint, size: number): DirectoryEntry[] {
    const args = pack(['u64', fh], ['u64', offset], ['u32', size], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', 0])
    const body = this.transport.call(opcode, nodeid, args, { dataRoom: size })
    return readDirectory(body, opcode === Opcode.READDIRPLUS)
  }

  readdir(nodeid: bigint, fh: bigint, offset: bigint, size = 4096): DirectoryEntry[] {
    return this.#readDirectory(Opcode.READDIR, nodeid, fh, offset, size)
  }

  readdirplus(nodeid: bigint, fh: bigint, offset: bigint, size = 4096): DirectoryEntry[] {
    return this.#readDirectory(Opcode.READDIRPLUS, nodeid, fh, offset, size)
  }

  access(nodeid: bigint, mask: number): void {
    this.transport.call(Opcode.ACCESS, nodeid, pack(['u32', mask], ['u32', 0]))
  }

  fallocate(nodeid: bigint, fh: bigint, offset: number, length: number, mode: number): void {
    const args = pack(['u64', fh], ['u64', offset], ['u64', length], ['u32', mode], ['u32', 0])
    this.transport.call(Opcode.FALLOCATE, nodeid, args)
  }

  lseek(nodeid: bigint, fh: bigint, offset: number, whence: number): number {
    const args = pack(['u64', fh], ['u64', offset], ['u32', whence], ['u32', 0])
    return exactly(this.transport.call(Opcode.LSEEK, nodeid, args, { replyBytes: 8 }), 8, (from) => from.number())
  }

  /** @returns bytes copied; `wide` sends COPY_FILE_RANGE_64 */
  copyFileRange(
    from: { nodeid: bigint; fh: bigint; offset: number },
    to: { nodeid: bigint; fh: bigint; offset: number },
    length: number,
    wide = false,
  ): number {
    const args = pack(
      ['u64', from.fh],
      ['u64', from.offset],
      ['u64', to.nodeid],
      ['u64', to.fh],
      ['u64', to.offset],
      ['u64', length],
      ['u64', 0],
    )
    const opcode = wide ? Opcode.COPY_FILE_RANGE_64 : Opcode.COPY_FILE_RANGE
    const body = this.transport.call(opcode, from.nodeid, args, { replyBytes: 8 })
    return exactly(body, 8, (reply) => (wide ? reply.number() : reply.u32()))
  }

  syncfs(nodeid: bigint): void {
    this.transport.call(Opcode.SYNCFS, nodeid, pack(['u64', 0]))
  }

  /** struct fuse_statx_in 24 bytes, fuse_statx_out 288 with struct fuse_statx from 32 on */
  statx(nodeid: bigint, mask = 0xfff): { mask: number; size: number; mode: number; btime: bigint; btimensec: number } {
    const args = pack(['u32', 0], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', mask])
    return exactly(this.transport.call(Opcode.STATX, nodeid, args, { replyBytes: 288 }), 288, (from) => {
      from.take(32)
      const got = from.u32()
      from.take(8 + 4 + 4 + 4 + 4)
      const mode = from.u16()
      from.take(2 + 8)
      const size = from.number()
      from.take(8 + 8 + 16)
      const btime = from.u64()
      const btimensec = from.u32()
      return { mask: got, size, mode, btime, btimensec }
    })
  }

  setupMapping(nodeid: bigint, foffset: number, length: number, flags: number, moffset: number): void {
    this.transport.wait(this.startSetupMapping(nodeid, foffset, length, flags, moffset))
  }

  /** struct fuse_setupmapping_in: 40 bytes, always with handle -1 */
  startSetupMapping(
    nodeid: bigint,
    foffset: number,
    length: number,
    flags: number,
    moffset: number,
    options: RequestOptions = {},
  ): PendingRequest {
    const args = pack(['u64', -1n], ['u64', foffset], ['u64', length], ['u64', flags], ['u64', moffset])
    return this.transport.submit(Opcode.SETUPMAPPING, nodeid, args, options)
  }

  removeMapping(nodeid: bigint, ranges: readonly { moffset: number; length: number }[]): void {
    const entries = ranges.map(({ moffset, length }) => pack(['u64', moffset], ['u64', length]))
    this.transport.call(Opcode.REMOVEMAPPING, nodeid, pack(['u32', ranges.length], ...entries))
  }
}

function readOpen(from: Unpacker): { fh: bigint; openFlags: number } {
  const fh = from.u64()
  const openFlags = from.u32()
  from.u32()
  return { fh, openFlags }
}

/** Decodes a reply that must have exactly so many bytes. */
function exactly<T>(body: Uint8Array, length: number, decode: (from: Unpacker) => T): T {
  if (body.length !== length) {
    throw new RangeError(`reply body of ${body.length} bytes, ${length} expected`)
  }
  return decode(new Unpacker(body))
}
