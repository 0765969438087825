// SPDX-License-Identifier: Apache-2.0
/**
 * FUSE requests from a script: by opcode, with the structs of abi.ts, each field by what its name says it is. What the
 * server has given out (nodeids, handles) is used again, as a hostile guest would; everything can be wrong besides.
 */
import * as abi from '../../fuse/abi.ts'
import { concat, encodeName, encodeRequest, encodeStruct, type Layout } from '../../fuse/testing/messages.ts'
import type { Script } from '../engine/script.ts'

/** What the guest has been told. */
export interface Known {
  readonly nodeids: number[]
  readonly handles: Handle[]
  /** Inode numbers of what it must never be told of. */
  readonly outside?: ReadonlySet<number>
}

interface Handle {
  readonly fh: number
  readonly nodeid: number
  readonly directory: boolean
}

interface Shape {
  readonly opcode: number
  readonly struct?: Layout
  /** What the struct's `fh` is a handle of. */
  readonly handle?: 'file' | 'directory'
  /** Names, targets and values after the struct. */
  readonly names?: number
  /** Structs after it. */
  readonly entries?: Layout
  /** Bytes of data after it: WRITE, IOCTL, SETXATTR. */
  readonly data?: boolean
}

const O = abi.FuseOpcode
const SHAPES: readonly Shape[] = [
  { opcode: O.LOOKUP, names: 1 },
  { opcode: O.FORGET, struct: abi.FuseForgetIn },
  { opcode: O.BATCH_FORGET, struct: abi.FuseBatchForgetIn, entries: abi.FuseForgetOne },
  { opcode: O.GETATTR, struct: abi.FuseGetattrIn },
  { opcode: O.SETATTR, struct: abi.FuseSetattrIn },
  { opcode: O.STATX, struct: abi.FuseStatxIn },
  { opcode: O.READLINK },
  { opcode: O.SYMLINK, names: 2 },
  { opcode: O.MKNOD, struct: abi.FuseMknodIn, names: 1 },
  { opcode: O.MKDIR, struct: abi.FuseMkdirIn, names: 1 },
  { opcode: O.UNLINK, names: 1 },
  { opcode: O.RMDIR, names: 1 },
  { opcode: O.RENAME, struct: abi.FuseRenameIn, names: 2 },
  { opcode: O.RENAME2, struct: abi.FuseRename2In, names: 2 },
  { opcode: O.LINK, struct: abi.FuseLinkIn, names: 1 },
  { opcode: O.CREATE, struct: abi.FuseCreateIn, names: 1 },
  { opcode: O.CREATE, struct: abi.FuseCreateIn, names: 1 },
  { opcode: O.TMPFILE, struct: abi.FuseCreateIn, names: 1 },
  { opcode: O.OPEN, struct: abi.FuseOpenIn },
  { opcode: O.OPEN, struct: abi.FuseOpenIn },
  { opcode: O.READ, struct: abi.FuseReadIn, handle: 'file' },
  { opcode: O.WRITE, struct: abi.FuseWriteIn, handle: 'file', data: true },
  { opcode: O.STATFS },
  { opcode: O.RELEASE, struct: abi.FuseReleaseIn, handle: 'file' },
  { opcode: O.FLUSH, struct: abi.FuseFlushIn, handle: 'file' },
  { opcode: O.FSYNC, struct: abi.FuseFsyncIn, handle: 'file' },
  { opcode: O.SETXATTR, struct: abi.FuseSetxattrIn, names: 1, data: true },
  { opcode: O.GETXATTR, struct: abi.FuseGetxattrIn, names: 1 },
  { opcode: O.LISTXATTR, struct: abi.FuseGetxattrIn },
  { opcode: O.REMOVEXATTR, names: 1 },
  { opcode: O.INIT, struct: abi.FuseInitIn },
  { opcode: O.DESTROY },
  { opcode: O.OPENDIR, struct: abi.FuseOpenIn },
  { opcode: O.READDIR, struct: abi.FuseReadIn, handle: 'directory' },
  { opcode: O.READDIRPLUS, struct: abi.FuseReadIn, handle: 'directory' },
  { opcode: O.RELEASEDIR, struct: abi.FuseReleaseIn, handle: 'directory' },
  { opcode: O.FSYNCDIR, struct: abi.FuseFsyncIn, handle: 'directory' },
  { opcode: O.FALLOCATE, struct: abi.FuseFallocateIn, handle: 'file' },
  { opcode: O.LSEEK, struct: abi.FuseLseekIn, handle: 'file' },
  { opcode: O.COPY_FILE_RANGE, struct: abi.FuseCopyFileRangeIn, handle: 'file' },
  { opcode: O.COPY_FILE_RANGE_64, struct: abi.FuseCopyFileRangeIn, handle: 'file' },
  { opcode: O.SETUPMAPPING, struct: abi.FuseSetupmappingIn },
  { opcode: O.REMOVEMAPPING, struct: abi.FuseRemovemappingIn, entries: abi.FuseRemovemappingOne },
  { opcode: O.SYNCFS, struct: abi.FuseSyncfsIn },
  { opcode: O.IOCTL, struct: abi.FuseIoctlIn, handle: 'file', data: true },
  { opcode: O.INTERRUPT, struct: abi.FuseInterruptIn },
  { opcode: O.GETLK, struct: abi.FuseLkIn, handle: 'file' },
  { opcode: O.SETLK, struct: abi.FuseLkIn, handle: 'file' },
  { opcode: O.SETLKW, struct: abi.FuseLkIn, handle: 'file' },
  { opcode: O.ACCESS, struct: abi.FuseAccessIn },
]

const NAMES: readonly string[] = [
  'a',
  'b',
  'c',
  'd',
  'e',
  'f',
  'up',
  'outside',
  'secret',
  'user.a',
  'user.b',
  'security.capability',
]
const HOSTILE_NAMES: readonly (string | Uint8Array)[] = [
  '',
  '.',
  '..',
  '/',
  '../outside/secret',
  'up/secret',
  '/etc/passwd',
  'a/b',
  'x'.repeat(255),
  'x'.repeat(256),
  'x'.repeat(4096),
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.overlay.opaque',
  'user.virtiofsd.a',
  new Uint8Array([0xff, 0xfe, 1]),
]
const MODES = [0o100644, 0o40755, 0o120777, 0o10600, 0o20666, 0o60666, 0o140755, 0o104777, 0o102755, 0o1777]
const IOCTLS = [0x8008_6601, 0x4008_6602, 0x801c_581f, 0x401c_5820, 0x5401]

function name(script: Script): Uint8Array {
  const kind = script.byte()
  if (kind < 170) return encodeName(NAMES[kind % NAMES.length] ?? 'a')
  if (kind < 250) return encodeName(HOSTILE_NAMES[kind % HOSTILE_NAMES.length] ?? '')
  return script.take(script.below(8))
}

/** One that was given out, or none such. */
function nodeid(script: Script, known: Known): bigint {
  const kind = script.byte()
  if (kind < 235) return BigInt(known.nodeids[kind % Math.max(1, known.nodeids.length)] ?? 1)
  return stranger(script, kind)
}

function stranger(script: Script, kind: number): bigint {
  if (kind < 245) return BigInt(kind - 235)
  if (kind < 252) return [0n, (1n << 64n) - 1n, 1n << 63n, 1n << 53n, 1n << 32n][kind % 5] ?? 0n
  return script.long()
}

/** An open file or directory, if there is one. */
function openHandle(script: Script, known: Known, directory: boolean): Handle | undefined {
  const fitting = known.handles.filter((handle) => handle.directory === directory)
  return fitting[script.byte() % Math.max(1, fitting.length)]
}

/** Small, or beyond what any file here can hold: never so that the disk fills up. */
function size(script: Script): bigint {
  const kind = script.byte()
  if (kind < 100) return BigInt(kind)
  if (kind < 164) return BigInt(4096 * (kind - 100))
  if (kind < 200) return BigInt(script.byte() | (script.byte() << 8))
  if (kind < 220) return BigInt(1 << 21)
  return [1n << 53n, (1n << 53n) - 1n, 1n << 62n, 1n << 63n, (1n << 64n) - 1n, (1n << 64n) - 4096n][kind % 6] ?? 0n
}

function field(key: string, script: Script, known: Known, handle: Handle | undefined): bigint {
  if (key.startsWith('fh') || key === 'nodeid_out') {
    const kind = script.byte()
    if (kind >= 235 || handle === undefined) return stranger(script, kind)
    return BigInt(key === 'nodeid_out' ? handle.nodeid : handle.fh)
  }
  if (/nodeid|newdir/.test(key)) return nodeid(script, known)
  if (key === 'cmd') return BigInt(script.byte() < 250 ? script.pick(IOCTLS) : script.word())
  if (key.endsWith('mode')) return BigInt(script.byte() < 200 ? script.pick(MODES) : script.word() & 0xffff)
  if (/off|^len|size|lk\.(start|end)|count|nlookup/.test(key)) return size(script)
  if (/type|whence/.test(key)) return BigInt(script.below(5))
  if (/owner|unique/.test(key)) return BigInt(script.below(4))
  if (/flags|valid|mask|umask/.test(key)) {
    const kind = script.byte()
    return BigInt(kind < 128 ? kind & 7 : kind < 192 ? kind << 3 : script.word())
  }
  if (key === 'rdev') return BigInt(script.pick([0x103, 0, 0xffff_ffff]))
  if (key === 'major') return BigInt(script.byte() < 230 ? 7 : script.below(9))
  if (key === 'minor') return BigInt(script.byte() < 128 ? 46 : script.below(60))
  return BigInt(script.below(4))
}

function struct(layout: Layout, script: Script, known: Known, handle: Handle | undefined): Uint8Array {
  const fields: Record<string, bigint> = {}
  for (const [key, offset] of Object.entries(layout)) {
    if (key === 'SIZE' || key === 'padding' || key === 'dummy' || offset >= layout.SIZE) continue
    const value = field(key, script, known, handle)
    // Narrow fields take what fits.
    fields[key] = /^(count|size|in_size|out_size)$/.test(key) ? value & 0xffff_ffffn : value
  }
  return encodeStruct(layout, fields)
}

export interface FuseRequest {
  readonly opcode: number
  readonly nodeid: number
  readonly message: Uint8Array
  /** Writable bytes of the chain. */
  readonly replyCapacity: number
}

const CAPACITIES = [4096, 4096, 8192, 144, 160, 120, 32, 16, 15, 0]

/** Reads one record. */
export function nextRequest(script: Script, known: Known): FuseRequest {
  let shape = script.pick(SHAPES)
  // These take everything away that a program has built up, so they are seldom.
  if ((shape.opcode === O.INIT || shape.opcode === O.DESTROY) && script.byte() < 240) shape = SHAPES[0] ?? shape
  const lie = script.byte()
  const replyCapacity = lie < 235 ? 8192 : (CAPACITIES[lie % CAPACITIES.length] ?? 0)
  const handle = openHandle(script, known, shape.handle === 'directory')
  const ownNodeid = shape.handle !== undefined && handle !== undefined && script.byte() < 240
  const node = ownNodeid ? BigInt(handle.nodeid) : nodeid(script, known)
  const body: Uint8Array[] = []
  if (shape.struct !== undefined) body.push(struct(shape.struct, script, known, handle))
  for (let i = 0; i < (shape.names ?? 0); i++) body.push(name(script))
  if (shape.entries !== undefined) {
    for (let count = script.below(4); count > 0; count--) body.push(struct(shape.entries, script, known, undefined))
  }
  if (shape.data === true) body.push(new Uint8Array(script.below(64) ** 2).fill(0x64))
  const who = script.byte()
  const by = { uid: (who & 3) === 1 ? 1000 : 0, gid: (who & 12) === 4 ? 1000 : 0 }
  const group = who >= 0xc0 ? script.word() : 0
  const groups = (group & 1) === 0 ? [group] : [group, group >>> 1]
  const label = (who & 0x10) === 0 ? 'security.selinux' : 'user.a'
  const extensions = who >= 0xc0 ? { groups, label: { name: label, value: script.take(3) } } : {}
  const message = encodeRequest(shape.opcode, { nodeid: node, ...by, ...extensions, unique: script.below(4) }, ...body)
  return { opcode: shape.opcode, nodeid: Number(node), message: damaged(message, script), replyCapacity }
}

/** What is well-formed so far, cut short, longer than it says, or with a byte changed. */
function damaged(message: Uint8Array, script: Script): Uint8Array {
  const kind = script.byte()
  const amount = script.byte()
  if (kind < 230) return message
  if (kind < 236) return message.subarray(0, Math.max(0, message.length - amount))
  if (kind < 240) return concat(message, new Uint8Array(amount))
  const changed = message.slice()
  if (kind < 248) changed[amount % changed.length] = script.byte()
  else if (kind < 253) new DataView(changed.buffer).setUint16(abi.FuseInHeader.total_extlen, amount, true)
  else new DataView(changed.buffer).setUint32(abi.FuseInHeader.len, script.word(), true)
  return changed
}

/** Takes note of what a reply gave out. */
export function learn({ opcode, nodeid: parent }: FuseRequest, body: Uint8Array, known: Known): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const created = opcode === O.CREATE || opcode === O.TMPFILE
  const entry: readonly number[] = [O.LOOKUP, O.MKNOD, O.MKDIR, O.SYMLINK, O.LINK]
  const number = (offset: number): number => (body.length < offset + 8 ? 0 : Number(view.getBigUint64(offset, true)))
  const node = created || entry.includes(opcode) ? number(0) : parent
  if (node !== parent && known.outside?.has(number(abi.FuseEntryOut.attr + abi.FuseAttr.ino)) === true) {
    throw new Error(`opcode ${opcode} leads out of the directory`)
  }
  if (!known.nodeids.includes(node)) known.nodeids.push(node)
  if (!created && opcode !== O.OPEN && opcode !== O.OPENDIR) return
  const fh = number(created ? abi.FuseEntryOut.SIZE : 0)
  known.handles.push({ fh, nodeid: node, directory: opcode === O.OPENDIR })
}
