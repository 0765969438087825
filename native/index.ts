// SPDX-License-Identifier: Apache-2.0
/**
 * The native addon: the only importer of the .node file, and the declaration of everything it exports.
 *
 * Conventions: set-up calls throw Node-style errors (`code`, `errno`, `syscall`); calls on the data path return
 * a result or `-errno` and never throw, except for arguments of a wrong type or range. File descriptors are numbers; who
 * closes them is said at each call.
 */
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { workerData } from 'node:worker_threads'
import type { DeviceControlConstructor, DeviceWindow, QueueWorkerConstructor } from './device.ts'
import type { NativeFileSystem } from './file-system.ts'
import type { ForgetMount } from './forget-mount.ts'
import type { RestoreDirectory, SaveDirectory } from './migration.ts'
import type { MemoryViewFaultPolicyValue, NativeMemoryView, NativeMemoryViewConstructor } from './memory-view.ts'
import { MemoryViewFaultPolicy, MemoryViewFlag } from './memory-view.ts'
import type { FileOperations } from './operations.ts'
import type { NativeSandbox } from './sandbox.ts'
import type { NativeServers } from './servers.ts'
import type { FdWatcherConstructor, UnixSockets } from './unix-socket.ts'
import type { RangesWantedAgain, ViewRanges, WindowFiles } from './view-ranges.ts'

interface NativeAddon extends UnixSockets {
  readonly DeviceControl: DeviceControlConstructor
  readonly QueueWorker: QueueWorkerConstructor
  readonly deviceWindow: DeviceWindow
  readonly MemoryView: NativeMemoryViewConstructor
  readonly memoryViewAbiVersion: number
  readonly FdWatcher: FdWatcherConstructor
  readonly fileSystem: NativeFileSystem
  readonly operations: FileOperations
  readonly viewRanges: ViewRanges
  readonly windowFiles: WindowFiles
  readonly rangesWantedAgain: RangesWantedAgain
  readonly forgetMount: ForgetMount
  readonly saveDirectory: SaveDirectory
  readonly restoreDirectory: RestoreDirectory
  readonly sandbox: NativeSandbox
  readonly servers: NativeServers
  readonly drainEventFd: (fd: number) => number
}

/** What `workerData` must have where a thread is to load the addon without reading a file; see server/queue-worker.ts. */
export interface AddonLocation {
  readonly addonPath: string
}

/** Where the addon is. */
export function addonPath(): string {
  return locationGiven() ?? createRequire(import.meta.url).resolve('#native-addon')
}

function locationGiven(): string | undefined {
  const data: unknown = workerData
  if (typeof data !== 'object' || data === null || !('addonPath' in data)) return undefined
  return typeof data.addonPath === 'string' ? data.addonPath : undefined
}

function loadAddon(): NativeAddon {
  const path = locationGiven()
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the addon exports is declared here, not inferred
  if (path === undefined) return createRequire(import.meta.url)('#native-addon') as NativeAddon
  // Behind the sandbox's doors there is no file to read; the dynamic linker knows the name of what it has loaded.
  const module: { exports: unknown } = { exports: {} }
  process.dlopen(module, path, constants.dlopen.RTLD_LAZY)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
  return module.exports as NativeAddon
}

const addon = loadAddon()

/** Takes an eventfd's count, 0 where it has not been signalled. */
export const drainEventFd = addon.drainEventFd

/** The main thread's side of a vhost-user device. */
export const DeviceControl = addon.DeviceControl
export type DeviceControl = InstanceType<DeviceControlConstructor>
/** The loop of one queue thread. */
export const QueueWorker = addon.QueueWorker
export type QueueWorker = InstanceType<QueueWorkerConstructor>
export const viewRanges = addon.viewRanges
export const windowFiles = addon.windowFiles
export const rangesWantedAgain = addon.rangesWantedAgain
export const forgetMount = addon.forgetMount
export const { saveDirectory, restoreDirectory } = addon
export type * from './migration.ts'
export type { ForgottenMount } from './forget-mount.ts'
export type { MappedRange, WindowContents, WindowFile, WindowUse } from './view-ranges.ts'

/** What windows need of a device. */
export const deviceWindow = addon.deviceWindow

/** Calls back when a descriptor becomes readable. */
export const FdWatcher = addon.FdWatcher
export type FdWatcher = InstanceType<FdWatcherConstructor>

export const { connectDatagram, listenUnix, listenTcp, adoptListener, groupId, acceptUnix, lockPidFile } = addon
export const { receiveWithFds, sendWithFds, peekWithFds, skipBytes } = addon
export const { openSystemLog, writeSystemLog } = addon
export const exitNow: (code: number) => never = addon.exitNow

/** The ABI version that this build speaks; MemoryViewInfo has the driver's. */
export const memoryViewAbiVersion = addon.memoryViewAbiVersion
export { MemoryViewFaultPolicy, MemoryViewFlag }
export type { DataPlaneCounters, DeviceCounters, HotInode, LatencyHistogram, RequestInProgress } from './device.ts'
export type { MemoryViewInfo } from './memory-view.ts'

/** One memory view; see memory-view.ts. */
export class MemoryView extends addon.MemoryView implements NativeMemoryView {
  /**
   * Opens the device and makes a view of `size` bytes. The view ends with the process.
   * @throws ENOENT or EACCES: no driver; EPROTO: a driver of an older ABI; the driver's errors
   */
  static create(
    size: number,
    path = '/dev/memory-view',
    policy: MemoryViewFaultPolicyValue = MemoryViewFaultPolicy.SIGBUS,
  ): MemoryView {
    const view = new MemoryView(path)
    try {
      const { abiVersion } = view.info()
      if (abiVersion < memoryViewAbiVersion)
        throw Object.assign(
          new Error(`EPROTO: the driver speaks ABI ${abiVersion}, this program ${memoryViewAbiVersion}`),
          { code: 'EPROTO' },
        )
      const result = view.setFaultPolicy(policy) || view.setSize(size)
      if (result < 0)
        throw Object.assign(new Error(`the driver refused a view of ${size} bytes`), { errno: result, code: 'EINVAL' })
    } catch (error) {
      view.close()
      throw error
    }
    return view
  }

  /** The same of a device that another process has opened, and perhaps made a view of that size already. */
  static adopt(fd: number, size: number, policy: MemoryViewFaultPolicyValue): MemoryView {
    const view = new MemoryView(fd)
    const result = view.info().size === size ? 0 : view.setFaultPolicy(policy) || view.setSize(size)
    if (result < 0)
      throw Object.assign(new Error(`the driver refused a view of ${size} bytes`), { errno: result, code: 'EINVAL' })
    return view
  }

  /** The view of another object or thread of this process; `fd` stays theirs. */
  static borrow(fd: number): MemoryView {
    return new MemoryView(fd)
  }
}

/** Shared directories; see file-system.ts. */
export const fileSystem = addon.fileSystem
/** What is done with their files; see operations.ts. */
export const operations = addon.operations
export type { AgreedFeatures, NativeFileSystem, OpenPolicy, SharedDirectoryId } from './file-system.ts'

/** What only server/sandbox/ needs; see sandbox.ts. */
export const sandbox = addon.sandbox
/** See servers.ts. */
export const servers = addon.servers
export type { FrontendState } from './servers.ts'
