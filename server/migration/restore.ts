// SPDX-License-Identifier: Apache-2.0
/** From what the tables have to a device's state, and back. */
import type { RestoredDirectory, RestoredInode, SavedDirectory, SavedInode } from '../../native/index.ts'
import { type DeviceState, type Location, ROOT_ID, type StateInode, type StateSession } from './device-state.ts'
import { PostcardError } from './postcard.ts'
import { negotiatedOptions } from './session.ts'

/** As virtiofsd counts: one is the guest's, which never forgets it. */
const ROOT_LOOKUPS = 2

function locationOf({ path, handle }: SavedInode): Location {
  if (path !== undefined) return { kind: 'path', path }
  return handle === undefined ? { kind: 'lost' } : { kind: 'handle', handle }
}

/** @param session null where the guest has not mounted: there is nothing else then */
export function toState(saved: SavedDirectory, session: StateSession | null): DeviceState {
  const root: StateInode = { id: ROOT_ID, lookups: ROOT_LOOKUPS, location: { kind: 'root' }, expected: undefined }
  const inodes = saved.inodes.map(
    (inode): StateInode => ({
      id: inode.nodeid,
      lookups: inode.lookups,
      location: locationOf(inode),
      expected: inode.path === undefined ? undefined : inode.handle,
    }),
  )
  return {
    inodes: session === null ? [] : [root, ...inodes],
    nextInode: saved.nextNodeid,
    handles: session === null ? [] : saved.handles.map(({ fh, nodeid, flags }) => ({ id: fh, inode: nodeid, flags })),
    nextHandle: saved.nextFh,
    options: negotiatedOptions(session ?? { flags: 0, flags2: 0 }),
    // It is for people and for open(2) only: a path that is no string can't be told.
    mountPaths: saved.mountPaths.map(({ mount, path }) => ({ mount, path: path.toString('utf8') })),
    session,
  }
}

/** Paths of inodes that are told by their names in others. */
class ChildPaths {
  readonly #byId: ReadonlyMap<number, StateInode>
  readonly #paths = new Map<number, Buffer | undefined>()
  /** How many names in it each inode is counted for. */
  readonly children = new Map<number, number>()

  constructor(inodes: readonly StateInode[]) {
    this.#byId = new Map(inodes.map((inode) => [inode.id, inode]))
    for (const { location } of inodes) {
      if (location.kind !== 'child') continue
      this.children.set(location.parent, (this.children.get(location.parent) ?? 0) + 1)
    }
  }

  /** Undefined for one that has none. @throws PostcardError where it lies in itself, or in nothing */
  of(id: number): Buffer | undefined {
    const names: Buffer[] = []
    let at = id
    for (;;) {
      if (this.#paths.has(at)) break
      const inode = this.#byId.get(at)
      if (inode === undefined) throw new PostcardError(`inode ${at} is not there, and another one lies in it`)
      const { location } = inode
      if (location.kind !== 'child') {
        this.#paths.set(at, location.kind === 'path' ? location.path : undefined)
        break
      }
      names.push(Buffer.from(location.name, 'utf8'))
      if (names.length > this.#byId.size) throw new PostcardError(`inode ${id} lies in itself`)
      at = location.parent
    }
    const above = at === ROOT_ID ? Buffer.alloc(0) : this.#paths.get(at)
    if (above === undefined) return undefined
    return names.reduceRight((path, name) => (path.length === 0 ? name : Buffer.concat([path, SLASH, name])), above)
  }
}

const SLASH = Buffer.from('/')

function depth({ path }: RestoredInode): number {
  let slashes = 0
  for (const byte of path ?? []) if (byte === 0x2f) slashes++
  return slashes
}

/** File handles are one byte of type and at most 128 others (MAX_HANDLE_SZ). */
const MAX_HANDLE_BYTES = 128

function usableHandle<T extends { readonly type: number; readonly bytes: Buffer }>(handle: T): T {
  if (handle.type < 0 || handle.type > 255 || handle.bytes.length > MAX_HANDLE_BYTES)
    throw new PostcardError('a file handle is none of this kernel’s')
  return handle
}

/**
 * @param takesHandles inodes may be opened by handle: a handle can name any file of the share's file systems, also outside of it
 * @throws PostcardError
 */
export function toDirectory(state: DeviceState, generation: number, takesHandles: boolean): RestoredDirectory {
  const paths = new ChildPaths(state.inodes)
  const mounts = new Map(state.mountPaths.map(({ mount, path }) => [mount, Buffer.from(path, 'utf8')]))
  const inodes: RestoredInode[] = []
  for (const { id, lookups, location, expected } of state.inodes) {
    if (id === ROOT_ID) continue
    const left = lookups - (paths.children.get(id) ?? 0)
    if (left < 0) throw new PostcardError(`inode ${id} is looked up less often than others lie in it`)
    // The guest does not know it: it was there for what lies in it.
    if (left === 0) continue
    const found = { nodeid: id, lookups: left, expected: expected && usableHandle(expected) }
    if (location.kind === 'handle') {
      if (!takesHandles)
        throw new PostcardError(
          'its inodes are told by file handle, which takes --migration-mode=file-handles here, too',
        )
      inodes.push({ ...found, handle: usableHandle(location.handle), path: mounts.get(location.handle.mount) })
    } else {
      inodes.push({ ...found, handle: undefined, path: paths.of(id) })
    }
  }
  return {
    inodes: inodes.toSorted((one, other) => depth(one) - depth(other)),
    handles: state.handles.map(({ id, inode, flags }) => ({ fh: id, nodeid: inode, flags: flags & 0x7fff_ffff })),
    nextNodeid: Math.max(state.nextInode, ROOT_ID + 1),
    nextFh: Math.max(state.nextHandle, 1),
    generation,
  }
}
