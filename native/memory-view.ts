// SPDX-License-Identifier: Apache-2.0
/**
 * Memory views as a library: what a program needs to hand another one a piece of memory that it can take back.
 *
 * A view is an object of a fixed size into which its owner maps ranges of files. `viewFd()` gives a descriptor that can
 * only be mapped; whoever maps it sees the files' pages through one mapping, with the protections that the owner chose,
 * until the owner unmaps the range: then an access there raises SIGBUS. See doc/memory-view.md.
 *
 * ```ts
 * const view = MemoryView.create(1 << 30)
 * view.map(0, 2 << 20, fd, 0, MemoryViewFlag.READ | MemoryViewFlag.WRITE)
 * sendToOtherProcess(view.viewFd())
 * view.unmap(0, 2 << 20)
 * ```
 */

/** MEMVIEW_MAP_*: what a mapper of the view may do with a range. */
export const MemoryViewFlag = { READ: 1, WRITE: 2, EXEC: 4 } as const

/** MEMVIEW_FAULT_*: what a mapper gets where there is nothing to show, see linux/memory_view.h. */
export const MemoryViewFaultPolicy = { SIGBUS: 0, SINK: 1 } as const
export type MemoryViewFaultPolicyValue = (typeof MemoryViewFaultPolicy)[keyof typeof MemoryViewFaultPolicy]

/** struct memview_info. Sizes in bytes; the rest counts since the view was opened. */
export interface MemoryViewInfo {
  readonly abiVersion: number
  readonly granularity: number
  readonly size: number
  /** Live mapped ranges. */
  readonly segments: number
  readonly maps: number
  /** Ranges unmapped, each entry of a batch counted. */
  readonly unmaps: number
  readonly faults: number
  readonly zaps: number
  readonly retries: number
  readonly faultPolicy: number
  /** Sink pages that there are now. */
  readonly sinkPages: number
  readonly sinks: number
  /** Sink pages in place of pages that could not be read. */
  readonly readErrors: number
  /** Sink pages in place of pages that the file has, but could not read or take a write to, that mappers wrote to: that is lost. */
  readonly lostWrites: number
  /** Where the last of these is: bytes into the view. */
  readonly lostOffset: number
}

/** The addon's class; MemoryView in index.ts adds `create` and `borrow`. */
export interface NativeMemoryView {
  /** The control fd, owned by this object unless borrowed; -1 once closed. */
  readonly fd: number
  /** Once per view, before the first map or view fd. @returns 0 or `-errno`: -EBUSY, -EINVAL */
  setSize(size: number): number
  /** Before the first map. @returns 0 or `-errno`: -EBUSY, -EINVAL */
  setFaultPolicy(policy: MemoryViewFaultPolicyValue): number
  /**
   * Maps `size` bytes of `fd` from `fdOffset` at `memOffset`, atomically over whatever was there. All multiples of the
   * granularity. `fd` may be closed afterwards.
   * @returns 0 or `-errno`: -EINVAL alignment, range or flags, -EACCES the fd's mode, -EOPNOTSUPP a kind of file that
   *   can't be taken back
   */
  map(memOffset: number, size: number, fd: number, fdOffset: number, flags: number): number
  /** Unmaps any page-aligned range; holes are no error. @returns 0 or `-errno` */
  unmap(memOffset: number, size: number): number
  /** Unmaps `count` ranges given as pairs of offset and size. @returns 0 or `-errno`; none of a bad batch takes effect */
  unmapMany(ranges: Float64Array, count: number): number
  /** A new view fd, owned by the caller. @throws the driver's error */
  viewFd(): number
  /** @throws the driver's error */
  info(): MemoryViewInfo
  /** Closes the control fd. The view goes when the last mapper and view fd have gone, too. */
  close(): void
}

export type NativeMemoryViewConstructor = new (pathOrFd: string | number) => NativeMemoryView
