// SPDX-License-Identifier: Apache-2.0
/**
 * The state of a device as it moves to another process: what virtiofsd sends and takes (its version 2), and behind that, where
 * virtiofsd does not look, what it has no place for.
 *
 * ```
 * u32 1 (version 2; 0: version 1, which has no mount paths)
 * inodes [ id, lookups, location, option handle ]   next id
 * handles [ id, inode, u32 0, i32 open(2) flags ]   next id
 * what was negotiated: bool writeback, announce_submounts, posix_acl, sup_group_extension
 * mount paths [ mount id, string ]
 *
 * 8 bytes MAGIC, u32 1                              ours, from here on
 * option session { minor, flags, flags2, generation }
 * paths that are no strings [ inode, bytes ]
 * ```
 */
import { PostcardError, PostcardReader, PostcardWriter } from './postcard.ts'

export const ROOT_ID = 1
const VERSION_1 = 0
const VERSION_2 = 1
const MAGIC = Buffer.from('viewfsd\0', 'latin1')
const EXTENSION_VERSION = 1
/** HandleSource::OpenInode, the only one there is. */
const OPEN_INODE = 0
const U32 = 0xffff_ffff

export interface StateFileHandle {
  /** As the sender's kernel has it. */
  readonly mount: number
  readonly type: number
  readonly bytes: Buffer
}

/** How an inode is found again. */
export type Location =
  | { readonly kind: 'root' }
  /** A name in another inode, whose lookups have one more for it. */
  | { readonly kind: 'child'; readonly parent: number; readonly name: string }
  | { readonly kind: 'lost' }
  /** From the shared directory on. */
  | { readonly kind: 'path'; readonly path: Buffer }
  | { readonly kind: 'handle'; readonly handle: StateFileHandle }

export interface StateInode {
  readonly id: number
  readonly lookups: number
  readonly location: Location
  /** What its handle has to be. */
  readonly expected: StateFileHandle | undefined
}

export interface StateHandle {
  readonly id: number
  readonly inode: number
  /** Of open(2). */
  readonly flags: number
}

export interface NegotiatedOptions {
  readonly writeback: boolean
  readonly announceSubmounts: boolean
  readonly posixAcl: boolean
  readonly supplementaryGroup: boolean
}

/** What FUSE_INIT has agreed to. */
export interface StateSession {
  readonly minor: number
  /** FuseInitFlag, of 32 bits; so is `flags2`. */
  readonly flags: number
  readonly flags2: number
  readonly generation: number
}

export interface DeviceState {
  readonly inodes: readonly StateInode[]
  readonly nextInode: number
  readonly handles: readonly StateHandle[]
  readonly nextHandle: number
  readonly options: NegotiatedOptions
  readonly mountPaths: readonly { readonly mount: number; readonly path: string }[]
  /** Undefined where the sender is a virtiofsd, null where the guest has not mounted. */
  readonly session: StateSession | null | undefined
}

function isString(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes)
}

/** What the receiver is told where a path is no string: a virtiofsd has lost the inode then. */
function asString(location: Location): Location {
  return location.kind === 'path' && !isString(location.path) ? { kind: 'lost' } : location
}

function writeHandle(out: PostcardWriter, { mount, type, bytes }: StateFileHandle): void {
  out.unsigned(mount)
  out.signed(type)
  out.bytes(bytes)
}

/** By variant; see `readLocation`. */
function writeLocation(out: PostcardWriter, location: Location): void {
  switch (location.kind) {
    case 'root':
      out.unsigned(0)
      return
    case 'child':
      out.unsigned(1)
      out.unsigned(location.parent)
      out.string(location.name)
      return
    case 'lost':
      out.unsigned(2)
      return
    case 'path':
      out.unsigned(3)
      out.bytes(location.path)
      return
    case 'handle':
      out.unsigned(4)
      writeHandle(out, location.handle)
  }
}

export function encodeState(state: DeviceState): Buffer {
  const out = new PostcardWriter()
  out.unsigned(VERSION_2)
  out.unsigned(state.inodes.length)
  for (const { id, lookups, location, expected } of state.inodes) {
    out.unsigned(id)
    out.unsigned(lookups)
    writeLocation(out, asString(location))
    out.boolean(expected !== undefined)
    if (expected !== undefined) writeHandle(out, expected)
  }
  out.unsigned(state.nextInode)
  out.unsigned(state.handles.length)
  for (const { id, inode, flags } of state.handles) {
    out.unsigned(id)
    out.unsigned(inode)
    out.unsigned(OPEN_INODE)
    out.signed(flags)
  }
  out.unsigned(state.nextHandle)
  const { writeback, announceSubmounts, posixAcl, supplementaryGroup } = state.options
  for (const option of [writeback, announceSubmounts, posixAcl, supplementaryGroup]) out.boolean(option)
  out.unsigned(state.mountPaths.length)
  for (const { mount, path } of state.mountPaths) {
    out.unsigned(mount)
    out.string(path)
  }
  if (state.session !== undefined) writeExtension(out, state, state.session)
  return out.finish()
}

function writeExtension(out: PostcardWriter, state: DeviceState, session: StateSession | null): void {
  out.raw(MAGIC)
  out.unsigned(EXTENSION_VERSION)
  out.boolean(session !== null)
  if (session !== null) {
    out.unsigned(session.minor)
    out.unsigned(session.flags >>> 0)
    out.unsigned(session.flags2 >>> 0)
    out.unsigned(session.generation)
  }
  const paths = state.inodes.flatMap(({ id, location }) =>
    location.kind === 'path' && !isString(location.path) ? [{ id, path: location.path }] : [],
  )
  out.unsigned(paths.length)
  for (const { id, path } of paths) {
    out.unsigned(id)
    out.bytes(path)
  }
}

function readHandle(input: PostcardReader): StateFileHandle {
  return { mount: input.unsigned(), type: input.signed(), bytes: input.bytes() }
}

function readLocation(input: PostcardReader): Location {
  const variant = input.unsigned(U32)
  switch (variant) {
    case 0:
      return { kind: 'root' }
    case 1:
      return { kind: 'child', parent: input.unsigned(), name: input.string() }
    case 2:
      return { kind: 'lost' }
    case 3:
      return { kind: 'path', path: Buffer.from(input.string(), 'utf8') }
    case 4:
      return { kind: 'handle', handle: readHandle(input) }
    default:
      throw new PostcardError(`no inode is found in way ${variant}`)
  }
}

function readOpenHandle(input: PostcardReader): StateHandle {
  const id = input.unsigned()
  const inode = input.unsigned()
  const source = input.unsigned(U32)
  if (source !== OPEN_INODE) throw new PostcardError(`no file is opened in way ${source}`)
  return { id, inode, flags: input.signed() }
}

/**
 * Takes nothing for granted but the memory: `bytes` come from whoever the frontend got them from.
 * @throws PostcardError
 */
export function decodeState(bytes: Buffer): DeviceState {
  const input = new PostcardReader(bytes)
  const version = input.unsigned(U32)
  if (version > VERSION_2) throw new PostcardError(`its version is ${version + 1}, and the newest known is 2`)
  const inodes = input.sequence(() => ({
    id: input.unsigned(),
    lookups: input.unsigned(),
    location: readLocation(input),
    expected: input.option(() => readHandle(input)),
  }))
  const nextInode = input.unsigned()
  const handles = input.sequence(() => readOpenHandle(input))
  const nextHandle = input.unsigned()
  const [writeback, announceSubmounts] = [input.boolean(), input.boolean()]
  const [posixAcl, supplementaryGroup] = [input.boolean(), input.boolean()]
  const options = { writeback, announceSubmounts, posixAcl, supplementaryGroup }
  const mountPaths =
    version === VERSION_1 ? [] : input.sequence(() => ({ mount: input.unsigned(), path: input.string() }))
  const { session, paths } = readExtension(input)
  if (input.left > 0) throw new PostcardError(`${input.left} bytes too many`)
  const named = inodes.map((inode): StateInode => {
    const path = paths.get(inode.id)
    return path === undefined ? inode : { ...inode, location: { kind: 'path', path } }
  })
  const state = { inodes: named, nextInode, handles, nextHandle, options, mountPaths, session }
  checkNumbers(state)
  return state
}

function readExtension(input: PostcardReader): {
  session: DeviceState['session']
  paths: ReadonlyMap<number, Buffer>
} {
  if (input.left === 0) return { session: undefined, paths: new Map() }
  if (input.left < MAGIC.length || !input.raw(MAGIC.length).equals(MAGIC))
    throw new PostcardError('behind it is what neither viewfsd nor virtiofsd sends')
  const version = input.unsigned(U32)
  if (version !== EXTENSION_VERSION)
    throw new PostcardError(`it is of a viewfsd with version ${version} of its part, and the newest known is 1`)
  const session = input.option(() => ({
    minor: input.unsigned(U32),
    flags: input.unsigned(U32) | 0,
    flags2: input.unsigned(U32) | 0,
    generation: input.unsigned(0x7fff_ffff),
  }))
  const paths = input.sequence((): [number, Buffer] => [input.unsigned(), input.bytes()])
  return { session: session ?? null, paths: new Map(paths) }
}

function checkNumbers({ inodes, nextInode, handles, nextHandle }: DeviceState): void {
  checkEach(inodes, ROOT_ID, nextInode, 'inode')
  // virtiofsd's first one is 0.
  checkEach(handles, 0, nextHandle, 'handle')
  for (const { id, location } of inodes) {
    if ((id === ROOT_ID) !== (location.kind === 'root'))
      throw new PostcardError(`inode ${id} is found in the wrong way for its number`)
  }
}

function checkEach(all: readonly { readonly id: number }[], first: number, next: number, what: string): void {
  const seen = new Set<number>()
  for (const { id } of all) {
    if (id < first || id >= next) throw new PostcardError(`${what} ${id} can't be, since ${next} is the next one`)
    if (seen.has(id)) throw new PostcardError(`${what} ${id} is there twice`)
    seen.add(id)
  }
}
