// SPDX-License-Identifier: Apache-2.0
/**
 * Guest RAM as QEMU's memory-backend-memfd gives it to a vhost-user device: one memfd, cut into regions with a guest
 * physical and a frontend virtual address each.
 */
import { closeSync, ftruncateSync } from 'node:fs'
import { testing } from '../../../native/testing/index.ts'

/** One entry of the memory table. */
export interface MemoryRegion {
  readonly gpa: number
  readonly sizeBytes: number
  readonly userAddress: number
  readonly fd: number
  readonly fdOffset: number
}

/** A stretch of guest physical memory. */
export interface Segment {
  readonly gpa: number
  readonly length: number
}

/** Frontend virtual address of guest physical 0. Unlike any GPA, so that mixing them up is found. */
export const USER_ADDRESS_BASE = 0x7f00_0000_0000

interface MappedRegion extends MemoryRegion {
  readonly memory: ArrayBuffer
  readonly bytes: Uint8Array
}

/** A stretch of guest RAM; behind the one before it in the file, if nothing else is said. */
export interface RamPart {
  readonly gpa: number
  readonly sizeBytes: number
  readonly fdOffset?: number
}

/** Guest RAM with a small allocator. The first 64 KiB are never handed out. */
export class GuestMemory {
  readonly fd: number
  readonly regions: readonly MemoryRegion[]
  readonly #mapped: MappedRegion[] = []
  readonly #free = new Map<number, number[]>()
  /** How far the regions are used that are not allocated from just now, by their end. */
  readonly #marks = new Map<number, number>()
  #next: number
  #end: number

  /**
   * @param layout guest physical ranges, in the order of the file; memory is allocated from the first one
   * @param file instead of a memfd, and the bytes of its pages; becomes this object's
   */
  constructor(
    layout: readonly RamPart[] = [{ gpa: 0, sizeBytes: 64 << 20 }],
    file?: { readonly fd: number; readonly pageBytes: number },
  ) {
    const total = layout.reduce((sum, part) => sum + part.sizeBytes, 0)
    this.fd = file?.fd ?? testing.memfdCreate('guest-ram', total)
    const page = file?.pageBytes ?? 4096
    let fdOffset = 0
    for (const { gpa, sizeBytes, fdOffset: given } of layout) {
      fdOffset = given ?? fdOffset
      const lead = fdOffset % page
      const memory = testing.map(this.fd, fdOffset - lead, Math.ceil((lead + sizeBytes) / page) * page, true)
      this.#mapped.push({
        gpa,
        sizeBytes,
        userAddress: USER_ADDRESS_BASE + gpa,
        fd: this.fd,
        fdOffset,
        memory,
        bytes: new Uint8Array(memory, lead, sizeBytes),
      })
      fdOffset += sizeBytes
    }
    this.regions = this.#mapped
    const first = this.#mapped[0]
    if (first === undefined) {
      throw new RangeError('guest memory needs a region')
    }
    this.#next = first.gpa + 0x10000
    this.#end = first.gpa + first.sizeBytes
  }

  /** Allocates from another region from now on. */
  allocateFrom(index: number): void {
    const region = this.#mapped[index]
    if (region === undefined) {
      throw new RangeError(`no region ${index}`)
    }
    this.#marks.set(this.#end, this.#next)
    this.#end = region.gpa + region.sizeBytes
    this.#next = this.#marks.get(this.#end) ?? region.gpa + 0x10000
    this.#free.clear()
  }

  /** Guest physical address of `length` bytes, aligned to their size rounded up to a power of two (at most 4 KiB). */
  allocate(length: number): number {
    const size = classOf(length)
    const reused = this.#free.get(size)?.pop()
    if (reused !== undefined) {
      return reused
    }
    const align = Math.min(size, 4096)
    const gpa = Math.ceil(this.#next / align) * align
    if (gpa + size > this.#end) {
      throw new RangeError(`guest memory is full: ${length} more bytes wanted`)
    }
    this.#next = gpa + size
    return gpa
  }

  release(gpa: number, length: number): void {
    const size = classOf(length)
    const list = this.#free.get(size)
    if (list === undefined) {
      this.#free.set(size, [gpa])
    } else {
      list.push(gpa)
    }
  }

  /** The bytes of a range that lies in one region. */
  bytes(gpa: number, length: number): Uint8Array {
    const region = this.#regionOf(gpa, length)
    return region.bytes.subarray(gpa - region.gpa, gpa - region.gpa + length)
  }

  view(gpa: number, length: number): DataView {
    const region = this.#regionOf(gpa, length)
    return new DataView(region.memory, region.bytes.byteOffset + gpa - region.gpa, length)
  }

  userAddress(gpa: number): number {
    return USER_ADDRESS_BASE + gpa
  }

  /** Takes the end of the memfd away, as a frontend with a broken memory backend would. Don't touch those bytes after. */
  truncate(sizeBytes: number): void {
    ftruncateSync(this.fd, sizeBytes)
  }

  close(): void {
    for (const region of this.#mapped.splice(0)) {
      testing.unmap(region.memory)
    }
    closeSync(this.fd)
  }

  #regionOf(gpa: number, length: number): MappedRegion {
    for (const region of this.#mapped) {
      if (gpa >= region.gpa && gpa + length <= region.gpa + region.sizeBytes) {
        return region
      }
    }
    throw new RangeError(`no guest memory at 0x${gpa.toString(16)}+${length}`)
  }
}

function classOf(length: number): number {
  let size = 64
  while (size < length) {
    size *= 2
  }
  return size
}
