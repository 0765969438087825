// SPDX-License-Identifier: Apache-2.0
/** A shared directory whose user and group ids the guest sees otherwise (`--translate-uid`, `--translate-gid`). */
import type { SharedDirectoryId } from '../../native/index.ts'
import { Errno } from '../errno.ts'
import {
  FuseAttr,
  FuseAttrOut,
  FuseDirent,
  FuseDirentplus,
  FuseEntryOut,
  FuseSetattrValid,
  FuseStatx,
  FuseStatxOut,
} from '../fuse/abi.ts'
import type { Caller, SetattrArguments } from '../fuse/file-system.ts'
import type { FuseSession } from '../fuse/session.ts'
import { getU64, type ReplyBody, WireBytes } from '../fuse/wire.ts'
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

  override lookup(parent: number, name: WireBytes, reply: ReplyBody): number {
    return this.#entry(super.lookup(parent, name, reply), reply)
  }

  override lookupSelf(nodeid: number, reply: ReplyBody): number {
    return this.#entry(super.lookupSelf(nodeid, reply), reply)
  }

  override lookupParent(nodeid: number, reply: ReplyBody): number {
    return this.#entry(super.lookupParent(nodeid, reply), reply)
  }

  override getattr(nodeid: number, reply: ReplyBody): number {
    return this.#attributes(super.getattr(nodeid, reply), reply)
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
    return this.#attributes(super.setattr(nodeid, attributes, reply), reply)
  }

  override statx(nodeid: number, mask: number, reply: ReplyBody): number {
    const result = super.statx(nodeid, mask, reply)
    if (result >= 0) {
      const stat = reply.offset + FuseStatxOut.stat
      this.#toGuest(reply.view, stat + FuseStatx.uid, stat + FuseStatx.gid)
    }
    return result
  }

  override symlink(parent: number, name: WireBytes, target: WireBytes, caller: Caller, reply: ReplyBody): number {
    const host = this.#caller(caller)
    if (host === undefined) return -Errno.EPERM
    return this.#entry(super.symlink(parent, name, target, host, reply), reply)
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
    return this.#entry(super.mknod(parent, name, mode, rdev, umask, host, reply), reply)
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
    return this.#entry(super.mkdir(parent, name, mode, umask, host, reply), reply)
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

  override link(nodeid: number, newParent: number, newName: WireBytes, reply: ReplyBody): number {
    return this.#entry(super.link(nodeid, newParent, newName, reply), reply)
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
    return this.#entry(super.create(parent, name, flags, mode, umask, openFlags, host, reply), reply)
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
    return this.#entry(super.tmpfile(parent, flags, mode, umask, openFlags, host, reply), reply)
  }

  override readdir(
    nodeid: number,
    fh: number,
    offsetLow: number,
    offsetHigh: number,
    size: number,
    plus: boolean,
    reply: ReplyBody,
  ): number {
    const length = super.readdir(nodeid, fh, offsetLow, offsetHigh, size, plus, reply)
    if (!plus) return length
    const { view, offset } = reply
    for (let position = offset; position < offset + length; ) {
      // Nodeid 0: a name without attributes.
      if (getU64(view, position + FuseEntryOut.nodeid) !== 0)
        this.#attributesToGuest(view, position + FuseEntryOut.attr)
      const nameLength = view.getUint32(position + FuseDirentplus.dirent + FuseDirent.namelen, true)
      position += (FuseDirentplus.SIZE + nameLength + 7) & ~7
    }
    return length
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

  #entry(result: number, reply: ReplyBody): number {
    if (result >= 0) this.#attributesToGuest(reply.view, reply.offset + FuseEntryOut.attr)
    return result
  }

  #attributes(result: number, reply: ReplyBody): number {
    if (result >= 0) this.#attributesToGuest(reply.view, reply.offset + FuseAttrOut.attr)
    return result
  }

  #attributesToGuest(view: DataView, attr: number): void {
    this.#toGuest(view, attr + FuseAttr.uid, attr + FuseAttr.gid)
  }

  #toGuest(view: DataView, uid: number, gid: number): void {
    view.setUint32(uid, this.#uids.toGuest(view.getUint32(uid, true)), true)
    view.setUint32(gid, this.#gids.toGuest(view.getUint32(gid, true)), true)
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
