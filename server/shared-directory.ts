// SPDX-License-Identifier: Apache-2.0
/** The directory that is shared: opened once by the main thread, used by each queue thread. */
import { VIEWABLE_TYPES } from './dax/viewable.ts'
import { FuseSession } from './fuse/session.ts'
import type { Options } from './options.ts'
import type { PassthroughOptions } from './passthrough/options.ts'
import { createSharedDirectory, PassthroughFileSystem } from './passthrough/passthrough-file-system.ts'

/** Plain data for workerData; the tables behind `id` are process-global. */
export interface SharedDirectory {
  readonly id: number
  readonly options: Partial<PassthroughOptions>
}

/**
 * @param root a descriptor of the directory, where the sandbox has opened it already
 * @param predecessor see createSharedDirectory
 * @throws a system error where the directory can't be opened
 */
export function shareDirectory(
  options: Options,
  root = -1,
  predecessor: [] | [tables: number, keeper: number] = [],
): SharedDirectory {
  const passthrough: Partial<PassthroughOptions> = {
    cache: options.cache,
    xattr: options.xattr,
    posixAcl: options.posixAcl,
    xattrMap: options.xattrMap,
    securityLabel: options.securityLabel,
    translateUid: options.translateUid,
    translateGid: options.translateGid,
    readOnly: options.readonly,
    writeback: options.writeback,
    allowDirectIo: options.allowDirectIo,
    allowMmap: options.allowMmap,
    killprivV2: options.killprivV2,
    announceSubmounts: options.announceSubmounts,
    readdirplus: options.readdirplus,
    preserveNoatime: options.preserveNoatime,
    posixLocks: options.posixLocks,
    flocks: options.flocks,
    inodeFileHandles: options.inodeFileHandles,
    // Set when the process started.
    descriptorLimit: 0,
    daxPolicy: options.window === 'shmem' ? options.daxPolicy : { ...options.daxPolicy, fileSystems: VIEWABLE_TYPES },
    daxReserve: options.daxReserve,
  }
  const path = root >= 0 ? `/proc/self/fd/${root}` : options.sharedDir
  try {
    return { id: createSharedDirectory(path, passthrough, predecessor), options: passthrough }
  } catch (error) {
    throw withoutHandles(options, error)
  }
}

/** Names the option where it is that which can not be had. */
function withoutHandles({ inodeFileHandles, sharedDir }: Options, error: unknown): unknown {
  const call = error instanceof Error && 'syscall' in error ? error.syscall : undefined
  const handles = call === 'open_by_handle_at' || call === 'name_to_handle_at'
  if (inodeFileHandles !== 'mandatory' || !handles || !(error instanceof Error)) return error
  const reason = `${sharedDir} has no file handles that this process can open (${error.message})`
  return new Error(`--inode-file-handles=mandatory: ${reason}; use --inode-file-handles=prefer`, { cause: error })
}

/** The calling thread's file system. */
export function openSharedDirectory(
  directory: SharedDirectory,
  session: SharedArrayBuffer,
  warn: (message: string) => void,
): PassthroughFileSystem {
  return new PassthroughFileSystem(directory.id, new FuseSession(session), directory.options, warn)
}
