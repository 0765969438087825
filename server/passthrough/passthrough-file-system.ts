// SPDX-License-Identifier: Apache-2.0
/**
 * A directory of the host as the guest's file system. Policy is here: which flags are negotiated, which open flags reach
 * the host, what an option forbids. The system calls, and the tables of inodes and handles that all request queues
 * share, are native (native/host/shared_directory.h).
 */
import { fileSystem as native, type SharedDirectoryId } from '../../native/index.ts'
import { Errno } from '../errno.ts'
import {
  FUSE_OPEN_KILL_SUIDGID,
  FuseAttrOut,
  FuseEntryOut,
  FuseInitFlag,
  FuseInitFlag2,
  FuseKstatfs,
  FuseLkOut,
  FuseOpenOut,
  FuseStatxOut,
} from '../fuse/abi.ts'
import type { Caller, FileSystem, InitFeature, LockRequest, SetattrArguments } from '../fuse/file-system.ts'
import { services } from '../fuse/services.ts'
import type { FuseSession } from '../fuse/session.ts'
import { getU64, type ReplyBody, WireBytes } from '../fuse/wire.ts'
import { cacheTimeout, defaultOptions, type PassthroughOptions } from './options.ts'
import { toGuestRanges } from './id-translation.ts'
import { agreedFeatures, openPolicy } from './open-policy.ts'
import { XattrMap } from './xattr-map.ts'

/** XATTR_LIST_MAX of Linux. */
const XATTR_LIST_MAX = 65536
/** Of chown(2): leave it. */
const NO_ID = 0xffff_ffff
/** Bytes of struct fsxattr. */
const FSXATTR_BYTES = 28

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')
const USER_PREFIX = new TextEncoder().encode('user.')

/** With its NUL. */
const CAPABILITY_NAME = new TextEncoder().encode('security.capability\0')

function startsWith(name: WireBytes, prefix: Uint8Array): boolean {
  if (name.length < prefix.length) return false
  for (let index = 0; index < prefix.length; index++) {
    if (name.bytes[name.offset + index] !== prefix[index]) return false
  }
  return true
}

/**
 * Opens a directory for sharing, once per process; the threads of the request queues then each make a
 * PassthroughFileSystem with the number.
 * @throws a system error (ENOENT, ENOTDIR, EACCES ...) where it can't be opened
 */
export function createSharedDirectory(path: string, options: Partial<PassthroughOptions> = {}): SharedDirectoryId {
  const all = { ...defaultOptions, ...options }
  const { cache, inodeFileHandles, descriptorLimit, inodeLimit, daxPolicy, daxReserve } = all
  const { translateUid, translateGid, xattrMap } = all
  if (descriptorLimit > 0) native.setDescriptorLimit(descriptorLimit)
  const timeout = cacheTimeout(cache)
  const handles = { never: 0, prefer: 1, mandatory: 2 }[inodeFileHandles]
  const directory = native.createSharedDirectory(path, timeout, timeout, handles, inodeLimit)
  native.setIds(directory, toGuestRanges(translateUid), toGuestRanges(translateGid))
  const capability = mappedCapability(xattrMap)
  if (capability !== undefined) native.setCapabilityName(directory, capability)
  const { enabled, minSizeBytes, minAgeSeconds, fileSystems = [] } = daxPolicy
  native.setDaxPolicy(directory, enabled, minSizeBytes, minAgeSeconds, fileSystems)
  native.setDaxReserve(directory, daxReserve)
  return directory
}

/** A rule of --translate-uid or --translate-gid. */
function squashing(own: number | undefined): string {
  return `squash-guest:0:${own}:4294967295`
}

/** The host's name for file capabilities, where the map changes it, so that the host's kernel can't drop them by itself. */
function mappedCapability(rules: string | undefined): string | undefined {
  if (rules === undefined) return undefined
  const name = new WireBytes()
  const host = new WireBytes()
  name.set(CAPABILITY_NAME, 0, CAPABILITY_NAME.length - 1)
  if (new XattrMap(rules).toHost(name, host) !== 0 || host.bytes === CAPABILITY_NAME) return undefined
  return Buffer.from(host.copy()).toString('latin1')
}

function wantedFeatures({ xattr, posixAcl, securityLabel }: PassthroughOptions): InitFeature[] {
  const features: InitFeature[] = []
  if (xattr && posixAcl !== 'never') {
    // The host applies the umask, because a default ACL takes its place.
    const flags = FuseInitFlag.POSIX_ACL | FuseInitFlag.DONT_MASK | FuseInitFlag.SETXATTR_EXT
    features.push({ option: '--posix-acl', flags, flags2: 0, required: posixAcl === 'always' })
  }
  if (xattr && securityLabel !== 'never') {
    const flags2 = FuseInitFlag2.SECURITY_CTX
    features.push({ option: '--security-label', flags: 0, flags2, required: securityLabel === 'always' })
  }
  return features
}

export class PassthroughFileSystem implements FileSystem {
  readonly readOnly: boolean
  readonly initFlags: number
  readonly initFlags2: number
  readonly initFeatures: readonly InitFeature[]
  readonly #directory: SharedDirectoryId
  readonly #options: PassthroughOptions
  readonly #session: FuseSession
  readonly #warn: (message: string) => void
  readonly #xattrMap: XattrMap | undefined
  /** A name as the host has it. */
  readonly #hostName = new WireBytes()

  /**
   * @param directory from `createSharedDirectory`, with the same options
   * @param session what the guest has negotiated, shared by all queues
   * @param warn logs one line
   */
  constructor(
    directory: SharedDirectoryId,
    session: FuseSession,
    options: Partial<PassthroughOptions> = {},
    warn: (message: string) => void = () => {},
  ) {
    this.#directory = directory
    this.#session = session
    this.#warn = warn
    this.#options = { ...defaultOptions, ...options }
    const { cache, readOnly, writeback, killprivV2, announceSubmounts, readdirplus, allowMmap } = this.#options
    const { daxPolicy, posixLocks, flocks } = this.#options
    const noData = cache === 'never' || cache === 'metadata'
    this.readOnly = readOnly
    this.#xattrMap = this.#options.xattrMap === undefined ? undefined : new XattrMap(this.#options.xattrMap)
    const exportable = native.fileHandles(directory) === 0
    this.initFlags =
      FuseInitFlag.AUTO_INVAL_DATA |
      // Kept for ever. The links of pseudo file systems change.
      (cache !== 'never' && native.isPseudo(directory) === 0 ? FuseInitFlag.CACHE_SYMLINKS : 0) |
      // Attributes that are not kept are sent in vain.
      (readdirplus && cache !== 'never' ? FuseInitFlag.DO_READDIRPLUS | FuseInitFlag.READDIRPLUS_AUTO : 0) |
      // Where no data are kept, none can be written back, and the host's sizes and times count.
      (writeback && !noData ? FuseInitFlag.WRITEBACK_CACHE : 0) |
      (posixLocks ? FuseInitFlag.POSIX_LOCKS : 0) |
      (flocks ? FuseInitFlag.FLOCK_LOCKS : 0) |
      (killprivV2 ? FuseInitFlag.HANDLE_KILLPRIV_V2 : 0) |
      (announceSubmounts ? FuseInitFlag.SUBMOUNTS : 0) |
      (exportable ? FuseInitFlag.EXPORT_SUPPORT : 0)
    this.initFlags2 =
      FuseInitFlag2.CREATE_SUPP_GROUP |
      FuseInitFlag2.ALLOW_IDMAP |
      (exportable ? 0 : FuseInitFlag2.NO_EXPORT_SUPPORT) |
      (allowMmap ? FuseInitFlag2.DIRECT_IO_ALLOW_MMAP : 0) |
      (daxPolicy.enabled ? FuseInitFlag2.HAS_INODE_DAX : 0)
    this.initFeatures = wantedFeatures(this.#options)
  }

  /**
   * Prepares the calling thread, before its first request: a umask of its own.
   * @throws a system error
   */
  attachThread(): void {
    native.attachThread()
  }

  begin(flags: number, windowBytes: number): void {
    const submounts = (flags & FuseInitFlag.SUBMOUNTS) !== 0
    native.begin(this.#directory, submounts, (flags & FuseInitFlag.EXPORT_SUPPORT) !== 0)
    const open = openPolicy(this.#options, this.#session)
    native.publishPolicy(this.#directory, services(this.readOnly), agreedFeatures(this.#session), open, windowBytes)
  }

  setattr(nodeid: number, attributes: SetattrArguments, reply: ReplyBody): number {
    const result = native.setattr(
      this.#directory,
      nodeid,
      attributes.valid,
      attributes.mode,
      attributes.uid,
      attributes.gid,
      attributes.size,
      attributes.fh,
      attributes.atimeSeconds,
      attributes.atimeNanoseconds,
      attributes.mtimeSeconds,
      attributes.mtimeNanoseconds,
      reply.bytes,
      reply.offset,
    )
    return result < 0 ? this.#refused(result) : FuseAttrOut.SIZE
  }

  statx(nodeid: number, mask: number, reply: ReplyBody): number {
    const result = native.statx(this.#directory, nodeid, mask, reply.bytes, reply.offset)
    return result < 0 ? result : FuseStatxOut.SIZE
  }

  readlink(nodeid: number, reply: ReplyBody): number {
    return native.readlink(this.#directory, nodeid, reply.bytes, reply.offset, reply.capacity)
  }

  symlink(parent: number, name: WireBytes, target: WireBytes, caller: Caller, reply: ReplyBody): number {
    const result = native.symlink(
      this.#directory,
      parent,
      name.bytes,
      name.offset,
      name.length,
      target.bytes,
      target.offset,
      target.length,
      0,
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
      reply.bytes,
      reply.offset,
    )
    if (result < 0) return this.#refused(result)
    const labelled = this.#label(parent, name, S_IFLNK, caller, reply)
    return labelled < 0 ? labelled : FuseEntryOut.SIZE
  }

  mknod(
    parent: number,
    name: WireBytes,
    mode: number,
    rdev: number,
    umask: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const result = native.mknod(
      this.#directory,
      parent,
      name.bytes,
      name.offset,
      name.length,
      mode,
      rdev,
      this.#umask(umask),
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
      reply.bytes,
      reply.offset,
    )
    if (result < 0) return this.#refused(result)
    const labelled = this.#label(parent, name, mode & S_IFMT, caller, reply)
    return labelled < 0 ? labelled : FuseEntryOut.SIZE
  }

  mkdir(parent: number, name: WireBytes, mode: number, umask: number, caller: Caller, reply: ReplyBody): number {
    const result = native.mkdir(
      this.#directory,
      parent,
      name.bytes,
      name.offset,
      name.length,
      mode,
      this.#umask(umask),
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
      reply.bytes,
      reply.offset,
    )
    if (result < 0) return this.#refused(result)
    const labelled = this.#label(parent, name, S_IFDIR, caller, reply)
    return labelled < 0 ? labelled : FuseEntryOut.SIZE
  }

  unlink(parent: number, name: WireBytes): number {
    return native.unlink(this.#directory, parent, name.bytes, name.offset, name.length)
  }

  rmdir(parent: number, name: WireBytes): number {
    return native.rmdir(this.#directory, parent, name.bytes, name.offset, name.length)
  }

  rename(
    parent: number,
    name: WireBytes,
    newParent: number,
    newName: WireBytes,
    flags: number,
    caller: Caller,
  ): number {
    const result = native.rename(
      this.#directory,
      parent,
      name.bytes,
      name.offset,
      name.length,
      newParent,
      newName.bytes,
      newName.offset,
      newName.length,
      flags,
      0,
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
    )
    return result < 0 ? this.#refused(result) : result
  }

  link(nodeid: number, newParent: number, newName: WireBytes, reply: ReplyBody): number {
    const { bytes, offset, length } = newName
    const result = native.link(this.#directory, nodeid, newParent, bytes, offset, length, reply.bytes, reply.offset)
    return result < 0 ? result : FuseEntryOut.SIZE
  }

  create(
    parent: number,
    name: WireBytes,
    flags: number,
    mode: number,
    umask: number,
    openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const fh = native.create(
      this.#directory,
      parent,
      name.bytes,
      name.offset,
      name.length,
      flags,
      mode,
      (openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0,
      this.#umask(umask),
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
      reply.bytes,
      reply.offset,
    )
    if (fh < 0) return this.#refused(fh)
    const labelled = this.#label(parent, name, S_IFREG, caller, reply, fh)
    return labelled < 0 ? labelled : FuseEntryOut.SIZE + FuseOpenOut.SIZE
  }

  tmpfile(
    parent: number,
    flags: number,
    mode: number,
    umask: number,
    _openFlags: number,
    caller: Caller,
    reply: ReplyBody,
  ): number {
    const fh = native.tmpfile(
      this.#directory,
      parent,
      flags,
      mode,
      this.#umask(umask),
      caller.uid,
      caller.gid,
      caller.supplementaryGroups.bytes,
      caller.supplementaryGroups.offset,
      caller.supplementaryGroups.length,
      reply.bytes,
      reply.offset,
    )
    if (fh < 0) return this.#refused(fh)
    const labelled = this.#label(parent, undefined, S_IFREG, caller, reply, fh)
    return labelled < 0 ? labelled : FuseEntryOut.SIZE + FuseOpenOut.SIZE
  }

  getlk(lock: LockRequest, reply: ReplyBody): number {
    const { nodeid, fh, ownerLow, ownerHigh, start, length, type } = lock
    if (!this.#session.has(FuseInitFlag.POSIX_LOCKS)) return -Errno.ENOSYS
    const result = native.getlk(
      this.#directory,
      nodeid,
      fh,
      ownerLow,
      ownerHigh,
      start,
      length,
      type,
      reply.bytes,
      reply.offset,
    )
    return result < 0 ? result : FuseLkOut.SIZE
  }

  setlk(lock: LockRequest): number {
    const { nodeid, fh, ownerLow, ownerHigh, start, length, type, flock } = lock
    if (!this.#session.has(flock ? FuseInitFlag.FLOCK_LOCKS : FuseInitFlag.POSIX_LOCKS)) return -Errno.ENOSYS
    return native.setlk(this.#directory, nodeid, fh, ownerLow, ownerHigh, start, length, type, flock)
  }

  lseek(nodeid: number, fh: number, offset: number, whence: number): number {
    return native.lseek(this.#directory, nodeid, fh, offset, whence)
  }

  ioctl(
    nodeid: number,
    fh: number,
    directory: boolean,
    command: number,
    argument: WireBytes,
    reply: ReplyBody,
  ): number {
    return native.ioctl(
      this.#directory,
      nodeid,
      fh,
      directory,
      command,
      argument.bytes,
      argument.offset,
      argument.length,
      reply.bytes,
      reply.offset,
      FSXATTR_BYTES,
    )
  }

  statfs(nodeid: number, reply: ReplyBody): number {
    const result = native.statfs(this.#directory, nodeid, reply.bytes, reply.offset)
    return result < 0 ? result : FuseKstatfs.SIZE
  }

  setxattr(nodeid: number, name: WireBytes, value: WireBytes, flags: number, killSgid: boolean): number {
    const refused = this.#toHostXattr(name)
    if (refused < 0) return refused
    const { bytes, offset, length } = this.#hostName
    return native.setxattr(
      this.#directory,
      nodeid,
      bytes,
      offset,
      length,
      value.bytes,
      value.offset,
      value.length,
      flags,
      killSgid,
    )
  }

  getxattr(nodeid: number, name: WireBytes, size: number, reply: ReplyBody): number {
    const refused = this.#toHostXattr(name)
    if (refused < 0) return refused
    const { bytes, offset, length } = this.#hostName
    return native.getxattr(this.#directory, nodeid, bytes, offset, length, reply.bytes, reply.offset, size)
  }

  listxattr(nodeid: number, size: number, reply: ReplyBody): number {
    if (!this.#options.xattr) return -Errno.ENOSYS
    const hidesAcls = !this.#session.has(FuseInitFlag.POSIX_ACL)
    if (this.#xattrMap === undefined) {
      return native.listxattr(this.#directory, nodeid, hidesAcls, reply.bytes, reply.offset, size)
    }
    const list = new Uint8Array(XATTR_LIST_MAX)
    const listed = native.listxattr(this.#directory, nodeid, hidesAcls, list, 0, list.length)
    if (listed < 0) return listed
    const length = this.#xattrMap.listFromHost(list.subarray(0, listed))
    if (size === 0) return length
    if (length > size) return -Errno.ERANGE
    reply.bytes.set(list.subarray(0, length), reply.offset)
    return length
  }

  removexattr(nodeid: number, name: WireBytes): number {
    const refused = this.#toHostXattr(name)
    if (refused < 0) return refused
    const { bytes, offset, length } = this.#hostName
    return native.removexattr(this.#directory, nodeid, bytes, offset, length)
  }

  reset(): void {
    native.reset(this.#directory)
  }

  /**
   * Finds `#hostName`. ENOSYS turns all extended attributes off in the guest; ACLs that nobody enforces must not seem to
   * work.
   */
  #toHostXattr(name: WireBytes): number {
    if (!this.#options.xattr) return -Errno.ENOSYS
    if (startsWith(name, ACL_PREFIX) && !this.#session.has(FuseInitFlag.POSIX_ACL)) return -Errno.EOPNOTSUPP
    if (this.#xattrMap !== undefined) return this.#xattrMap.toHost(name, this.#hostName)
    this.#hostName.set(name.bytes, name.offset, name.length)
    return 0
  }

  /**
   * Gives what has just been created, and is in `reply`, the label that came with the request. Where that fails, it is
   * as if nothing had been created. A symbolic link or a device whose label would be in `user.` on the host, where only
   * files and directories have such attributes, has none.
   */
  #label(
    parent: number,
    name: WireBytes | undefined,
    type: number,
    caller: Caller,
    reply: ReplyBody,
    fh?: number,
  ): number {
    if (caller.labelName.length === 0 || !this.#session.has2(FuseInitFlag2.SECURITY_CTX)) return 0
    const nodeid = getU64(reply.view, reply.offset + FuseEntryOut.nodeid)
    const result = this.setxattr(nodeid, caller.labelName, caller.label, 0, false)
    if (result >= 0) return 0
    const bare = type !== S_IFREG && type !== S_IFDIR && result === -Errno.EPERM
    if (bare && this.#toHostXattr(caller.labelName) === 0 && startsWith(this.#hostName, USER_PREFIX)) return 0
    if (fh !== undefined) native.release(this.#directory, nodeid, fh)
    if (name !== undefined) {
      if (type === S_IFDIR) this.rmdir(parent, name)
      else this.unlink(parent, name)
    }
    native.forget(this.#directory, nodeid, 1)
    return result
  }

  /** Says once which option helps where the reason of an EPERM is that this process may not give a file to that owner. */
  #refused(result: number): number {
    const ids = result === -Errno.EPERM ? native.takeRefusedOwner() : undefined
    if (ids === undefined) return result
    const owner = ids.map((id) => (id === NO_ID ? '' : id)).join(':')
    this.#warn(
      `a file can not be given to the owner ${owner}, whose ids this process may not take: EPERM. ` +
        `--translate-uid=${squashing(process.geteuid?.())} and --translate-gid=${squashing(process.getegid?.())} make all files its own; ` +
        '--uid-map and --gid-map give it more ids, in --sandbox=namespace',
    )
    return result
  }

  /** The guest has applied the umask itself unless DONT_MASK was negotiated. */
  #umask(umask: number): number {
    return this.#session.has(FuseInitFlag.DONT_MASK) ? umask : 0
  }
}
