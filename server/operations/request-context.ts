// SPDX-License-Identifier: Apache-2.0
/**
 * One request while a handler works on it. There is one object per FUSE server, rewritten for each request, so that a
 * hot request allocates nothing.
 */
import { Errno } from '../errno.ts'
import { Field, FIELDS } from '../../native/file-request.ts'
import type { FileOperation } from '../../native/operations.ts'
import type { SessionWindow } from '../dax/session-window.ts'
import { FuseInHeader, FuseOutHeader } from '../fuse/abi.ts'
import { type FuseChannel, Served } from '../fuse/channel.ts'
import type { FuseCounters } from '../fuse/counters.ts'
import type { FuseSession } from '../fuse/session.ts'
import { Waits } from '../fuse/waits.ts'
import { decodeComponent, getU64, ReplyBody, WireBytes } from '../fuse/wire.ts'
import type { FileSystem } from '../passthrough/file-system.ts'

/** A handler's result for a request that it has completed through the channel itself. */
export const COMPLETED = -0x10000
/** A handler's result: the stop of the queue interrupted it, and it can be done again from the start. */
export const INTERRUPTED = -0x10001

/**
 * How long a request waits at most for another program's lease. The host ends a lease after /proc/sys/fs/lease-break-time,
 * 45 s if nobody has changed it; a file system that says EAGAIN for other reasons must not be asked for ever, because Linux's
 * virtio-fs driver sends no INTERRUPT.
 */
const LEASE_PATIENCE_MS = 120_000

/** Where the operation's own struct begins in the request. */
export const BODY = FuseInHeader.SIZE

export class RequestContext {
  readonly fileSystem: FileSystem
  readonly window: SessionWindow
  readonly session: FuseSession
  readonly counters: FuseCounters
  /** Told once in a session that the server has no descriptors, or no room for inodes, left: the request fails with ENFILE. */
  onShortage: (opcode: number) => void = () => {}
  /** Logs one line. */
  readonly warn: (message: string) => void

  channel!: FuseChannel
  view: DataView = new DataView(new ArrayBuffer(0))
  bytes: Uint8Array = new Uint8Array(0)
  opcode = 0
  nodeid = 0
  /** The request's length. */
  end = 0
  readonly reply = new ReplyBody()
  readonly waits = new Waits()
  /** The arguments of the operation that serves it, at places of Field; zero at first but for directory, nodeid and the reply's. */
  readonly record = new Float64Array(FIELDS)
  /** What the record's ranges lie in. */
  source: Uint8Array = new Uint8Array(0)
  #sourceLength = 0
  /** The name or text that was taken last. */
  readonly name = new WireBytes()

  constructor(
    fileSystem: FileSystem,
    window: SessionWindow,
    session: FuseSession,
    counters: FuseCounters,
    warn: (message: string) => void,
  ) {
    this.fileSystem = fileSystem
    this.window = window
    this.session = session
    this.counters = counters
    this.warn = warn
  }

  /**
   * The current request waits, without holding up the thread: see waits.ts.
   * @returns COMPLETED, or `-errno` where it can't
   */
  wait(patienceMs: number): number {
    const { channel, opcode, nodeid } = this
    const unique = getU64(this.view, FuseInHeader.unique)
    const added = this.waits.add(channel, { unique, opcode, nodeid }, patienceMs)
    return added < 0 ? added : COMPLETED
  }

  /** A request has been answered with ENFILE. */
  noteShortage(opcode: number): void {
    if (this.session.takeShortage()) this.onShortage(opcode)
  }

  /**
   * Serves a request of the data plane's that has been set aside, or sets it aside.
   * @returns COMPLETED, or `-errno` where neither can be: the session may have ended between the data plane's look at it and ours
   */
  serveByDataPlane(): number {
    const { opcode } = this
    switch (this.channel.serveAgain()) {
      case Served.WAITS:
        return this.wait(LEASE_PATIENCE_MS)
      case Served.NO:
        return -Errno.ENOTCONN
      case Served.SHORTAGE:
        this.noteShortage(opcode)
        return COMPLETED
      case Served.OWNER_REFUSED:
        this.fileSystem.ownerRefused()
        return COMPLETED
      default:
        return COMPLETED
    }
  }

  /** `result`, or `wait` where a lease of a program on the host is in the way. */
  waitForLease(result: number): number {
    return result === -Errno.EAGAIN ? this.wait(LEASE_PATIENCE_MS) : result
  }

  /**
   * Takes over a request and decodes its header.
   * @returns 0, or `-EINVAL` for a header that can't be right
   */
  begin(channel: FuseChannel): number {
    this.channel = channel
    const view = channel.request
    this.view = view
    this.bytes = channel.requestBytes
    const { reply } = this
    reply.view = channel.replyView
    reply.bytes = channel.replyBytes
    reply.offset = FuseOutHeader.SIZE
    const wanted = channel.replyCapacity
    const room = channel.replyBytes.length
    reply.capacity = Math.max(0, (wanted < room ? wanted : room) - FuseOutHeader.SIZE)

    const copied = channel.requestLength
    this.source = this.bytes
    this.#sourceLength = copied
    if (copied < FuseInHeader.SIZE) {
      this.opcode = 0
      return -Errno.EINVAL
    }
    this.opcode = view.getUint32(FuseInHeader.opcode, true)
    // A chain may be longer than the message in it, never shorter.
    const length = view.getUint32(FuseInHeader.len, true)
    if (length < FuseInHeader.SIZE || length > copied + channel.payloadLength) return -Errno.EINVAL
    this.nodeid = getU64(view, FuseInHeader.nodeid)
    const { record } = this
    record.fill(0)
    record[Field.directory] = this.fileSystem.directory
    record[Field.nodeid] = this.nodeid
    record[Field.replyOffset] = reply.offset
    record[Field.replySize] = reply.capacity
    this.end = length < copied ? length : copied
    return 0
  }

  /** Does an operation with the record. */
  call(operation: FileOperation): number {
    return operation(this.record, this.source, this.reply.bytes)
  }

  /**
   * Takes one path component from `start`.
   * @param place of the record that gets its offset, the next one its length
   * @returns the position behind its NUL, or `-errno`
   */
  takeName(start: number, place: number = Field.nameOffset): number {
    const next = decodeComponent(this.bytes, start, this.end, this.name)
    this.setRange(place, this.name)
    return next
  }

  setRange(place: number, { offset, length }: WireBytes): void {
    this.record[place] = offset
    this.record[place + 1] = length
  }

  /**
   * Puts bytes that are not the guest's, and a NUL behind them, where the record's ranges lie: into a copy of the request, at its end.
   * @returns their offset
   */
  append(bytes: Uint8Array): number {
    const offset = this.#sourceLength
    const longer = new Uint8Array(offset + bytes.length + 1)
    longer.set(this.source.subarray(0, offset))
    longer.set(bytes, offset)
    this.source = longer
    this.#sourceLength = longer.length
    return offset
  }
}
