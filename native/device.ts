// SPDX-License-Identifier: Apache-2.0
/** Types of the addon's vhost-user device; the values are exported by index.ts. */
import type { SharedDirectoryId } from './file-system.ts'
import type { FrontendState } from './servers.ts'

/** Counters of one device since the process started. */
export interface DeviceCounters {
  /** Requests taken from rings, those refused by the transport included. */
  readonly requests: number
  /** Requests that never reached the FUSE server: malformed, too large or unreadable. */
  readonly refused: number
  /** Interrupts sent to the guest. */
  readonly signals: number
  /** Times that a queue thread slept. */
  readonly waits: number
  /** Times that spinning found work before a sleep. */
  readonly spinHits: number
  /** Requests that had to wait for the host: given to the pool, and READs that the kernel has carried out by itself. */
  readonly pooled: number
  readonly asyncReads: number
  /** SHMEM_MAP and SHMEM_UNMAP messages sent to the frontend. */
  readonly shmemMaps: number
  readonly shmemUnmaps: number
  /** Ranges that the frontend maps for us now (shmem windows only). */
  readonly shmemLive: number
  readonly memoryRegions: number
  /** Accesses to guest memory that would have killed the process. */
  readonly guardedFaults: number
  readonly dataPlane: DataPlaneCounters
}

/** Requests that never came to JavaScript. */
export interface DataPlaneCounters {
  /** By opcode; those from 63 on share the last. */
  readonly requests: readonly number[]
  /** Replies with an error, and requests that were void. */
  readonly errors: number
  /** Bytes that READ moved to the guest, and that WRITE took from it. */
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Successful SETUPMAPPINGs, upgrades and other replacements included. */
  readonly mappingsSetUp: number
  /** Those of them that allowed writing. */
  readonly mappingsSetUpWritable: number
  /** SETUPMAPPINGs that got an error. */
  readonly mappingsRefused: number
  /** Entries of successful REMOVEMAPPINGs. */
  readonly mappingsRemoved: number
}

/** How long requests of one opcode have taken, from the ring to the reply; see native/session/latencies.h. */
export interface LatencyHistogram {
  readonly opcode: number
  /** Requests by `LATENCY_STEPS` steps an octave, from 2^`LATENCY_FIRST_OCTAVE` ns on; the first and the last take the rest. */
  readonly buckets: readonly number[]
  /** Of all of them. */
  readonly nanoseconds: number
}
export const LATENCY_STEPS = 4
export const LATENCY_FIRST_OCTAVE = 8

/** An inode and about how many requests there have been for it. */
export interface HotInode {
  readonly nodeid: number
  readonly requests: number
}

/** A request that a queue thread, or a thread of the pool, is at work on. */
export interface RequestInProgress {
  /** The queue thread that took it. */
  readonly worker: number
  /** No other request of that thread has it. */
  readonly number: number
  readonly opcode: number
  readonly nodeid: number
  /** How long it has been since a thread began to serve it. */
  readonly milliseconds: number
}

/**
 * The main thread's side of a vhost-user device. Numbers that come from the frontend are checked here; errors are
 * thrown. A descriptor given to a `set…` call belongs to the device from then on.
 */
export interface DeviceControl {
  /** What queue threads and windows find the device by. */
  readonly id: number
  /** Becomes readable when a queue that `requestStop` waits for has been let go, and when a ring broke. Not owned. */
  readonly quiescedFd: number
  setFeatures(eventIdx: boolean, indirect: boolean, ringsStartEnabled: boolean): void
  /** Whether what is written to the guest's memory is marked in the frontend's log. */
  setDirtyLogging(enabled: boolean): void
  /**
   * Takes another log for that, and lets go of the one before. `fd` stays the caller's.
   * @param log its size and its offset in the file, bytes
   * @throws EINVAL for one that has not a bit for each page of the memory table, ENXIO for a file that is shorter; mmap's errors
   */
  setLogBase(fd: number, log: BigUint64Array): void
  /** An eventfd that is told of marks; -1: none. */
  setLogSignal(fd: number): void
  /**
   * Replaces the memory table. Per region: guest physical address, size, frontend's address, mmap offset (bytes).
   * `fds` stay the caller's.
   * @throws EINVAL for regions that are empty or overlap; mmap's errors
   */
  setMemoryTable(regions: BigUint64Array, fds: readonly number[]): void
  addRegion(region: BigUint64Array, fd: number): void
  /** The mmap offset is not compared. @throws ENOENT */
  removeRegion(region: BigUint64Array): void
  setVringSize(queue: number, size: number): void
  /** Frontend's addresses of descriptor table, available ring and used ring. */
  setVringAddresses(queue: number, addresses: BigUint64Array): void
  setVringBase(queue: number, base: number): void
  /** Starts the ring. */
  setVringKick(queue: number, fd: number): void
  /** -1: none. */
  setVringCall(queue: number, fd: number): void
  setVringError(queue: number, fd: number): void
  setVringEnabled(queue: number, enabled: boolean): void
  /** @returns true where no request is being served; otherwise ask again when `quiescedFd` is readable */
  requestStop(queue: number): boolean
  /** Ends a stop that `requestStop` has granted. @returns the next available index */
  finishStop(queue: number): number
  /** Why this ring was stopped for lying, told once. */
  brokenReason(queue: number): string | undefined
  /** -1: none. */
  setBackendSocket(fd: number): void
  /** Puts down what a successor of this process needs, where there may be one; the rest it knows itself. */
  record(
    connection: number,
    protocolFeatures: bigint,
    lastQueue: number,
    windowPossible: boolean,
    windowActive: boolean,
    repliesEnd: number,
  ): void
  /**
   * Sets up what a predecessor has put down; after `addView`, before anything else.
   * @param crashed the predecessor was ended by its own doing, perhaps by what it was serving
   * @returns undefined where it had no frontend; whether VHOST_F_LOG_ALL is on, and which queues run
   */
  restore(
    crashed: boolean,
  ): (FrontendState & { readonly logs: boolean; readonly running: readonly number[] }) | undefined
  /** Requests that have got EIO because server after server has crashed with them; once. `quiescedFd` tells of them. */
  takeDeadly(): Uint8Array[]
  /** No more requests are taken, for good; those that have been are carried out. */
  pause(): void
  /** All requests that are taken from now on get EIO. */
  refuse(): void
  /** Tells the device its own window's file, so that no ring is accepted in a view. `fd` stays the caller's. */
  addView(fd: number): void
  /** Whether the frontend has shown our view as the window and shows it no more: it has reset the device since. */
  viewLost(viewFd: number, sizeBytes: number): boolean
  /** After a device reset: the frontend has dropped the mappings of a shmem window. */
  forgetWindow(): void
  /** Forgets everything that the frontend has set. All queues must be stopped. */
  reset(): void
  /** Makes every QueueWorker's `next` return -1, and the id invalid. */
  destroy(): void
  counters(): DeviceCounters
  /** At most one for each queue thread, and those that the pool has begun. */
  requestsInProgress(): RequestInProgress[]
  /** Of opcodes that have been served. */
  latencies(): LatencyHistogram[]
  /** Those that there have been many requests for, in no order. */
  hotInodes(): HotInode[]
}

export type DeviceControlConstructor = new (queueCount: number, poolThreads?: number) => DeviceControl

/** The loop of one queue thread; used on the thread that made it. */
export interface QueueWorker {
  /** The request's bytes. */
  readonly requestBuffer: ArrayBuffer
  readonly replyBuffer: ArrayBuffer
  /** Of the current request: its length in `requestBuffer`, the bytes not copied, the writable bytes, its session. */
  readonly state: Uint32Array
  /**
   * Waits for a request that the data plane does not serve, or can't serve now.
   * @param timeoutMs never times out where left out
   * @returns the queue's index, -1 after the end of the device, -2 after the timeout or many requests that were refused, -3 after one
   *   that the data plane has answered with ENFILE; it stands in `requestBuffer`
   */
  next(timeoutMs?: number): number
  /** See FuseChannel. Each completes the current request; 0 or -errno. */
  reply(bodyLength: number): number
  replyError(errno: number): number
  noReply(): number
  giveBack(): number
  beginSession(): number
  /** @returns a number for the current request, which is set aside, or `-errno`. The stop of its queue waits for a SETUPMAPPING. */
  defer(): number
  /** It is the current request again; 0 or `-errno`. */
  resume(deferred: number): number
  /** See FuseChannel. */
  serveAgain(): number
  /** Lets go of the queues; otherwise garbage collection does. */
  close(): void
}

/** `directory`: the shared directory whose policy says what the data plane serves; -1: none, every request comes here. */
export type QueueWorkerConstructor = new (deviceId: number, worker: number, directory: number) => QueueWorker

/** What a window needs of a device. Results are 0 or `-errno`. */
export interface DeviceWindow {
  /**
   * Makes a view visible as the whole window, unless the frontend's memory table holds it already, and waits until it does.
   * @returns -ENOTCONN no backend channel, -EIO refused, -ETIMEDOUT, -EINTR the device is being stopped
   */
  startViewWindow(deviceId: number, viewFd: number, size: number, timeoutMs: number): number
  /**
   * Shows the directory's files in a memory view. Like `attachShmem`, before the first request.
   * @param controlFd the view's, which stays the caller's
   */
  attachView(directory: SharedDirectoryId, controlFd: number): void
  /** Shows them by the frontend, range by range. */
  attachShmem(deviceId: number, directory: SharedDirectoryId): void
  /** Unmaps what the frontend still has. */
  shmemReset(deviceId: number): void
}
