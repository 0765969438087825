// SPDX-License-Identifier: Apache-2.0
/**
 * A shared directory whose user and group ids the guest sees otherwise (`--translate-uid`, `--translate-gid`): what the guest's
 * ids are on the host. The other direction is the data plane's (native/host/id_ranges.h).
 */
import type { SharedDirectoryId } from '../../native/index.ts'
import { Errno } from '../errno.ts'
import { FuseSetattrValid } from '../fuse/abi.ts'
import type { Caller, SetattrArguments } from '../fuse/file-system.ts'
import type { FuseSession } from '../fuse/session.ts'
import { type ReplyBody, WireBytes } from '../fuse/wire.ts'
import { FORBIDDEN, IdTranslator } from './id-translation.ts'
import type { PassthroughOptions } from './options.ts'
import { PassthroughFileSystem } from './passthrough-file-system.ts'

/** Of renameat2(2): leaves a device node of the caller's in place of the name. */
const RENAME_WHITEOUT = 4

const NOTHING = new Uint8Array(0)

export class TranslatingFileSystem extends PassthroughFileSystem {
  readonly #uids: IdTranslator
  readonly #gids: IdTranslator
  readonly #hostCaller: Caller = {
    uid: 0,
    gid: 0,
    pid: 0,
    supplementaryGroups: new WireBytes(),
    labelName: new WireBytes(),
    label: new WireBytes(),
  }

  constructor(
    directory: SharedDirectoryId,
    session: FuseSession,
    options: Partial<PassthroughOptions>,
    warn?: (message: string) => void,
  ) {
    super(directory, session, options, warn)
    this.#uids = new IdTranslator(options.translateUid ?? [])
    this.#gids = new IdTranslator(options.translateGid ?? [])
  }

  override setattr(nodeid: number, attributes: SetattrArguments, reply: ReplyBody): number {
    if ((attributes.valid & FuseSetattrValid.UID) !== 0) {
      const uid = this.#uids.toHost(attributes.uid)
      if (uid === FORBIDDEN) return -Errno.EPERM
      attributes.uid = uid
    }
    if ((attributes.valid & FuseSetattrValid.GID) !== 0) {
      const gid = this.#gids.toHost(attributes.gid)
      if (gid === FORBIDDEN) return -Errno.EPERM
      attributes.gid = gid
    }
    return super.setattr(nodeid, attributes, reply)
  }

  override symlink(parent: number, name: WireBytes, target: WireBytes, caller: Caller, reply: ReplyBody): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return super.symlink(parent, name, target, host, reply)
  }

  override mknod(
    parent: number,
    name: WireBytes,
    mode: number,
    rdev: number,
    umask: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return super.mknod(parent, name, mode, rdev, umask, host, reply)
  }

  override mkdir(
    parent: number,
    name: WireBytes,
    mode: number,
    umask: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return super.mkdir(parent, name, mode, umask, host, reply)
  }

  override rename(
    parent: number,
    name: WireBytes,
    newParent: number,
    newName: WireBytes,
    flags: number,
    caller: Caller,
  ): number {
    const host = this.#caller(caller)
    if (host === undefined && (flags & RENAME_WHITEOUT) !== 0) return -Errno.EPERM
    return super.rename(parent, name, newParent, newName, flags, host ?? caller)
  }

  override create(
    parent: number,
    name: WireBytes,
    flags: number,
    mode: number,
    umask: number,
    openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return super.create(parent, name, flags, mode, umask, openFlags, host, reply)
  }

  override tmpfile(
    parent: number,
    flags: number,
    mode: number,
    umask: number,
    openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return super.tmpfile(parent, flags, mode, umask, openFlags, host, reply)
  }

  /** Undefined where an id is forbidden. */
  #caller(caller: Caller): Caller | undefined {
    const host = this.#hostCaller
    const uid = this.#uids.toHost(caller.uid)
    const gid = this.#gids.toHost(caller.gid)
    if (uid === FORBIDDEN || gid === FORBIDDEN) return undefined
    const { labelName, label } = caller
    if (!this.#groupsToHost(caller.supplementaryGroups, host.supplementaryGroups)) return undefined
    host.uid = uid
    host.gid = gid
    host.labelName.set(labelName.bytes, labelName.offset, labelName.length)
    host.label.set(label.bytes, label.offset, label.length)
    return host
  }

  /** False where one is forbidden. */
  #groupsToHost(guest: WireBytes, host: WireBytes): boolean {
    const groups = guest.length === 0 ? NOTHING : guest.copy()
    host.set(groups, 0, groups.length)
    const view = new DataView(groups.buffer)
    for (let offset = 0; offset < groups.length; offset += 4) {
      const gid = this.#gids.toHost(view.getUint32(offset, true))
      if (gid === FORBIDDEN) return false
      view.setUint32(offset, gid, true)
    }
    return true
  }
}

/** The file system of one thread, with translation where the options want any. */
export function openFileSystem(
  directory: SharedDirectoryId,
  session: FuseSession,
  options: Partial<PassthroughOptions> = {},
  warn?: (message: string) => void,
): PassthroughFileSystem {
  const translates = (options.translateUid?.length ?? 0) > 0 || (options.translateGid?.length ?? 0) > 0
  return translates
    ? new TranslatingFileSystem(directory, session, options, warn)
    : new PassthroughFileSystem(directory, session, options, warn)
}
