// SPDX-License-Identifier: Apache-2.0
/**
 * A directory of the host as the guest's file system: which flags are negotiated, and what holds for a session. What is done with
 * its files is in server/operations/; the system calls, and the tables of inodes and handles that all request queues
 * share, are native (native/host/shared_directory.h).
 */
import { fileSystem as native, operations, servers, type SharedDirectoryId } from '../../native/index.ts'
import type { FileOperations } from '../../native/operations.ts'
import { FuseInitFlag, FuseInitFlag2 } from '../fuse/abi.ts'
import { services } from '../fuse/services.ts'
import type { FuseSession } from '../fuse/session.ts'
import { WireBytes } from '../fuse/wire.ts'
import type { FileSystem, InitFeature } from './file-system.ts'
import { NO_ID, toGuestRanges, toHostRanges } from './id-translation.ts'
import { agreedFeatures, openPolicy } from './open-policy.ts'
import { cacheTimeout, defaultOptions, type PassthroughOptions } from './options.ts'
import { hostLabel, LABELS } from './security-label.ts'
import { XattrMap } from './xattr-map.ts'

/** With its NUL. */
const CAPABILITY_NAME = new TextEncoder().encode('security.capability\0')

/**
 * Opens a directory for sharing, once per process; the threads of the request queues then each make a
 * PassthroughFileSystem with the number.
 * @param predecessor see NativeFileSystem.createSharedDirectory
 * @throws a system error (ENOENT, ENOTDIR, EACCES ...) where it can't be opened
 */
export function createSharedDirectory(
  path: string,
  options: Partial<PassthroughOptions> = {},
  predecessor: [] | [tables: number, keeper: number] = [],
): SharedDirectoryId {
  const all = { ...defaultOptions, ...options }
  const { cache, inodeFileHandles, descriptorLimit, inodeLimit, daxPolicy, daxReserve } = all
  const { translateUid, translateGid, xattrMap } = all
  if (descriptorLimit > 0) native.setDescriptorLimit(descriptorLimit)
  const timeout = cacheTimeout(cache)
  const handles = { never: 0, prefer: 1, mandatory: 2 }[inodeFileHandles]
  const directory = native.createSharedDirectory(path, timeout, timeout, handles, inodeLimit, ...predecessor)
  native.setIds(
    directory,
    toGuestRanges(translateUid),
    toGuestRanges(translateGid),
    toHostRanges(translateUid),
    toHostRanges(translateGid),
  )
  const map = xattrMap === undefined ? undefined : new XattrMap(xattrMap)
  for (const label of LABELS) {
    const name = hostLabel(label, map)
    if (name !== undefined) native.addLabelName(directory, label, name)
  }
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
  readonly directory: SharedDirectoryId
  readonly operations: FileOperations = operations
  readonly readOnly: boolean
  readonly initFlags: number
  readonly initFlags2: number
  readonly initFeatures: readonly InitFeature[]
  readonly xattr: boolean
  readonly xattrMap: XattrMap | undefined
  readonly #options: PassthroughOptions
  readonly #session: FuseSession
  readonly #warn: (message: string) => void

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
    this.directory = directory
    this.#session = session
    this.#warn = warn
    this.#options = { ...defaultOptions, ...options }
    const { cache, readOnly, writeback, killprivV2, announceSubmounts, readdirplus, allowMmap } = this.#options
    const { daxPolicy, posixLocks, flocks } = this.#options
    const noData = cache === 'never' || cache === 'metadata'
    this.readOnly = readOnly
    this.xattr = this.#options.xattr
    this.xattrMap = this.#options.xattrMap === undefined ? undefined : new XattrMap(this.#options.xattrMap)
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

  /** All that a guest might get, if it wants it. */
  offered(): { flags: number; flags2: number } {
    let { initFlags: flags, initFlags2: flags2 } = this
    for (const feature of this.initFeatures) {
      flags |= feature.flags
      flags2 |= feature.flags2
    }
    return { flags, flags2 }
  }

  begin(flags: number, windowBytes: number): void {
    const submounts = (flags & FuseInitFlag.SUBMOUNTS) !== 0
    const exports = (flags & FuseInitFlag.EXPORT_SUPPORT) !== 0
    native.begin(this.directory, submounts, exports, this.#session.hasWindow)
    servers.noteSession(this.#session.words)
    const open = openPolicy(this.#options, this.#session)
    native.publishPolicy(this.directory, services(this.readOnly), agreedFeatures(this.#session), open, windowBytes)
  }

  reset(): void {
    native.reset(this.directory)
  }

  ownerRefused(): void {
    const ids = native.takeRefusedOwner()
    if (ids === undefined) return
    const owner = ids.map((id) => (id === NO_ID ? '' : id)).join(':')
    this.#warn(
      `a file can not be given to the owner ${owner}, whose ids this process may not take: EPERM. ` +
        `--translate-uid=${squashing(process.geteuid?.())} and --translate-gid=${squashing(process.getegid?.())} make all files its own; ` +
        '--uid-map and --gid-map give it more ids, in --sandbox=namespace',
    )
  }
}
