// SPDX-License-Identifier: Apache-2.0
/**
 * The log of Linux' dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): every write to a block device, in
 * the order in which the device has promised to keep it, so that what lies before any entry is what a power cut there leaves.
 * Marks are entries that somebody has put there by name. Numbers are little-endian, positions count sectors of the log's own size.
 */
import { fstatSync, readSync, writeSync } from 'node:fs'

const MAGIC = 0x6a736677736872n
const VERSION = 1n
const DISCARD = 1n << 2n
const MARK = 1n << 3n
/** The head of an entry: sector, count, flags, length of the data that follows it in its own sector. */
const HEAD_BYTES = 32

export interface LogEntry {
  /** Bytes: where on the device, and how many. */
  readonly at: number
  readonly length: number
  /** Bytes: where in the log the data are; undefined for what is discarded. */
  readonly data: number | undefined
  /** The name of a mark. */
  readonly mark: string | undefined
}

function numbers(entry: Buffer): [bigint, bigint, bigint, bigint] {
  const number = (offset: number): bigint => entry.readBigUInt64LE(offset)
  return [number(0), number(8), number(16), number(24)]
}

/**
 * Reads the entries of a finished log; `fd` stays the caller's.
 * @throws Error for what is no such log, or is cut off
 */
export function readLog(fd: number): LogEntry[] {
  const size = fstatSync(fd).size
  const read = (at: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length)
    if (at + length > size || readSync(fd, bytes, 0, length, at) !== length)
      throw new Error(`the log ends before ${at + length}`)
    return bytes
  }
  const head = read(0, 28)
  if (head.readBigUInt64LE(0) !== MAGIC || head.readBigUInt64LE(8) !== VERSION)
    throw new Error('no log of dm-log-writes')
  const count = Number(head.readBigUInt64LE(16))
  const sector = head.readUInt32LE(24)
  if (sector < 512 || sector > 4096) throw new Error(`sectors of ${sector} bytes`)
  const entries: LogEntry[] = []
  let place = sector
  for (let i = 0; i < count; i++) {
    const entry = read(place, HEAD_BYTES)
    const [at, sectors, flags, extra] = numbers(entry)
    const length = Number(sectors) * sector
    const isMark = (flags & MARK) !== 0n
    const hasData = !isMark && (flags & DISCARD) === 0n
    const data = place + sector
    entries.push({
      at: Number(at) * sector,
      length: isMark ? 0 : length,
      data: hasData ? data : undefined,
      mark: isMark
        ? read(place + HEAD_BYTES, Number(extra))
            .toString()
            .replace(/\0.*$/, '')
        : undefined,
    })
    place = data + (hasData ? length : 0)
    if (place > size) throw new Error(`entry ${i} of ${count} lies beyond the end of the log`)
  }
  return entries
}

/** Does to `device` what the entries did; both descriptors stay the caller's. What was discarded becomes zeros. */
export function replay(log: number, entries: readonly LogEntry[], device: number): void {
  for (const { at, length, data } of entries) {
    const bytes = Buffer.alloc(length)
    if (data !== undefined && readSync(log, bytes, 0, length, data) !== length)
      throw new Error(`the log ends before ${data}`)
    for (let done = 0; done < length; ) done += writeSync(device, bytes, done, length - done, at + done)
  }
}
