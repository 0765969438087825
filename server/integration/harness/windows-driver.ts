// SPDX-License-Identifier: Apache-2.0
/**
 * The Windows driver (virtio-win's viofs with WinFsp) as it sends requests: an old protocol version, names where Linux has
 * nodeids, FORGET before RELEASE, a reply buffer for everything, and whatever was on its stack in the fields that it does
 * not set.
 */
import {
  ATTR_OUT_BYTES,
  type Attr,
  type DirectoryEntry,
  ENTRY_OUT_BYTES,
  type Entry,
  Opcode,
  readAttr,
  readDirectory,
  readEntry,
  ROOT_ID,
} from './fuse-abi.ts'
import { outcome, type Session } from './session.ts'
import { cString, pack, Unpacker } from './wire.ts'

const GARBAGE = 0xcccc_cccc
const MINOR = 31
const DO_READDIRPLUS = 1n << 13n
export const MAX_PAGES = 1n << 22n
const O_RDWR = 2
const O_EXCL = 0o200
const O_DIRECTORY = 0o200000
const KEEP_SIZE = 1
export const NOREPLACE = 1
export const FATTR = { MODE: 1, SIZE: 8, ATIME: 16, MTIME: 32, FH: 64, CTIME: 1024 } as const

/** A driver of one mount; paths have slashes, as WinFsp maps them. */
export class WindowsDriver {
  readonly session: Session
  /** What INIT has brought. */
  readonly version: readonly number[]
  readonly flags: bigint
  readonly maxWrite: number
  readonly maxPages: number
  readonly owner: { readonly uid: number; readonly gid: number }
  readonly #lookups = new Map<bigint, number>()

  constructor(session: Session) {
    this.session = session
    const flags = Number(DO_READDIRPLUS | MAX_PAGES)
    const init = pack(['u32', 7], ['u32', MINOR], ['u32', 0], ['u32', flags])
    const reply = new Unpacker(this.#call(Opcode.INIT, ROOT_ID, init, 64))
    this.version = [reply.u32(), reply.u32()]
    reply.take(4)
    this.flags = BigInt(reply.u32())
    reply.take(4)
    this.maxWrite = reply.u32()
    reply.take(4)
    this.maxPages = reply.u16()
    this.#call(Opcode.STATFS, ROOT_ID, new Uint8Array(0), 80)
    this.owner = this.find('').attr
  }

  #call(opcode: number, nodeid: bigint, args: Uint8Array, replyBytes = 0, dataRoom = 0): Uint8Array {
    const credentials = opcode === Opcode.CREATE || opcode === Opcode.MKDIR ? { ...this.owner, pid: 4242 } : undefined
    const options = { replyBytes, dataRoom, padding: GARBAGE, ...(credentials && { credentials }) }
    return this.session.transport.call(opcode, nodeid, args, options)
  }

  lookup(parent: bigint, name: string): Entry {
    const entry = readEntry(new Unpacker(this.#call(Opcode.LOOKUP, parent, cString(name), ENTRY_OUT_BYTES)))
    this.#lookups.set(entry.nodeid, (this.#lookups.get(entry.nodeid) ?? 0) + 1)
    return entry
  }

  /** The directory and the last component of a path. */
  walk(path: string): { parent: bigint; name: string } {
    const names = path.split('/')
    const name = names.pop() ?? ''
    return { parent: names.reduce((parent, each) => this.lookup(parent, each).nodeid, ROOT_ID), name }
  }

  /** As for each thing that an application opens; the root is ".". */
  find(path: string): Entry {
    const { parent, name } = this.walk(path)
    return this.lookup(parent, name === '' ? '.' : name)
  }

  getattr(nodeid: bigint): Attr {
    const args = pack(['u32', 0], ['u32', GARBAGE], ['u64', 0xcccc_cccc_cccc_ccccn])
    const reply = new Unpacker(this.#call(Opcode.GETATTR, nodeid, args, ATTR_OUT_BYTES))
    reply.take(16)
    return readAttr(reply)
  }

  setattr(nodeid: bigint, valid: number, fields: { fh?: bigint; size?: number; mode?: number; time?: number }): void {
    const { fh = 0n, size = 0, mode = 0, time = 0 } = fields
    const times = [['u64', time] as const, ['u64', time] as const, ['u64', time] as const]
    const args = pack(['u32', valid], ['u32', 0], ['u64', fh], ['u64', size], ['u64', 0], ...times)
    const rest = pack(['u32', 0], ['u32', 0], ['u32', 0], ['u32', mode], ['u32', 0], ['u32', 0], ['u32', 0], ['u32', 0])
    this.#call(Opcode.SETATTR, nodeid, pack(args, rest), ATTR_OUT_BYTES)
  }

  create(path: string): { nodeid: bigint; fh: bigint } {
    const { parent, name } = this.walk(path)
    const args = pack(['u32', O_RDWR | O_EXCL], ['u32', 0o664], ['u32', 0], ['u32', GARBAGE], cString(name))
    const reply = new Unpacker(this.#call(Opcode.CREATE, parent, args, ENTRY_OUT_BYTES + 16))
    const { nodeid } = readEntry(reply)
    this.#lookups.set(nodeid, 1)
    return { nodeid, fh: reply.u64() }
  }

  mkdir(path: string): { nodeid: bigint; fh: bigint } {
    const { parent, name } = this.walk(path)
    const args = pack(['u32', 0o775], ['u32', 0], cString(name))
    const { nodeid } = readEntry(new Unpacker(this.#call(Opcode.MKDIR, parent, args, ENTRY_OUT_BYTES)))
    this.#lookups.set(nodeid, 1)
    return { nodeid, fh: this.open(nodeid, true) }
  }

  open(nodeid: bigint, directory = false): bigint {
    const args = pack(['u32', directory ? O_DIRECTORY : O_RDWR], ['u32', GARBAGE])
    return new Unpacker(this.#call(directory ? Opcode.OPENDIR : Opcode.OPEN, nodeid, args, 16)).u64()
  }

  /** Space first, without a size, as for each new file whose size an application has told. */
  allocate(nodeid: bigint, fh: bigint, length: number): void {
    const args = pack(['u64', fh], ['u64', 0], ['u64', length], ['u32', KEEP_SIZE], ['u32', GARBAGE])
    this.#call(Opcode.FALLOCATE, nodeid, args)
  }

  write(nodeid: bigint, fh: bigint, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + this.maxWrite)
      const args = pack(['u64', fh], ['u64', done], ['u32', part.length], ['u32', 0], ['u64', 0], ['u32', 0])
      const body = this.#call(Opcode.WRITE, nodeid, pack(args, ['u32', GARBAGE], part), 8)
      done += new Unpacker(body).u32()
    }
    this.getattr(nodeid)
  }

  #readArguments(fh: bigint, offset: bigint, size: number): Uint8Array {
    return pack(['u64', fh], ['u64', offset], ['u32', size], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', GARBAGE])
  }

  read(nodeid: bigint, fh: bigint, length: number): Buffer {
    const parts: Uint8Array[] = []
    for (let offset = 0; ; ) {
      const size = Math.min(length, this.maxPages * 4096)
      const part = this.#call(Opcode.READ, nodeid, this.#readArguments(fh, BigInt(offset), size), 0, size)
      parts.push(part)
      offset += part.length
      if (part.length < size) return Buffer.concat(parts)
    }
  }

  list(nodeid: bigint, fh: bigint, size: number): DirectoryEntry[] {
    const all: DirectoryEntry[] = []
    for (let offset = 0n; ; ) {
      const body = this.#call(Opcode.READDIRPLUS, nodeid, this.#readArguments(fh, offset, size), 0, size)
      if (body.length === 0) return all
      for (const each of readDirectory(body, true)) {
        all.push(each)
        offset = each.offset
        const child = each.entry?.nodeid ?? 0n
        if (each.name !== '.' && each.name !== '..') this.#lookups.set(child, (this.#lookups.get(child) ?? 0) + 1)
      }
    }
  }

  /** By the number of entries of one READDIR. */
  isEmpty(nodeid: bigint, fh: bigint): boolean {
    const size = 4096 - 16
    return (
      readDirectory(this.#call(Opcode.READDIR, nodeid, this.#readArguments(fh, 0n, size), 0, size), false).length <= 2
    )
  }

  rename(from: string, to: string, flags: number): void {
    const [old, next] = [this.walk(from), this.walk(to)]
    const names = pack(cString(old.name), cString(next.name))
    const args = pack(['u64', next.parent], ['u32', flags], ['u32', GARBAGE], names)
    this.#call(Opcode.RENAME2, old.parent, args)
  }

  readlink(nodeid: bigint): string {
    // The request has room for a name, too.
    return Buffer.from(this.#call(Opcode.READLINK, nodeid, new Uint8Array(260).fill(0xcc), 0, 260)).toString()
  }

  /** In place of a file that has just been made for it. */
  symlink(path: string, target: string): void {
    const { parent, name } = this.walk(path)
    this.#call(Opcode.SYMLINK, parent, pack(cString(name), cString(target)), ENTRY_OUT_BYTES)
  }

  flush(nodeid: bigint, fh: bigint): void {
    this.#call(Opcode.FLUSH, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', 0]))
  }

  close(nodeid: bigint, fh: bigint, directory = false): string {
    const args = pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', 0])
    return outcome(() => this.#call(directory ? Opcode.RELEASEDIR : Opcode.RELEASE, nodeid, args))
  }

  /** While it is open, and FORGET before it is closed; with room for a reply that never comes. */
  remove(path: string, nodeid: bigint, directory = false): void {
    const { parent, name } = this.walk(path)
    this.#call(directory ? Opcode.RMDIR : Opcode.UNLINK, parent, cString(name))
    const { transport, hiprio } = this.session
    const count = pack(['u64', this.#lookups.get(nodeid) ?? 0])
    this.#lookups.delete(nodeid)
    const body = pack(['u32', 48], ['u32', Opcode.FORGET], ['u64', 1], ['u64', nodeid], new Uint8Array(16), count)
    const { memory } = this.session
    const [request, reply] = [memory.allocate(body.length), memory.allocate(16)]
    memory.bytes(request, body.length).set(body)
    const pending = transport.submitSegments(
      hiprio,
      [{ gpa: request, length: body.length }],
      [{ gpa: reply, length: 16 }],
    )
    transport.waitFor(() => pending.done, 'FORGET')
    if (pending.usedLength !== 0) throw new Error(`FORGET was answered with ${pending.usedLength} bytes`)
  }

  destroy(): void {
    this.#call(Opcode.DESTROY, ROOT_ID, new Uint8Array(0))
  }
}
