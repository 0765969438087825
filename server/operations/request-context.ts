// SPDX-License-Identifier: Apache-2.0
/**
 * One request while a handler works on it. There is one object per FUSE server, rewritten for each request, so that a
 * hot request allocates nothing.
 */
import { Errno } from '../errno.ts'
import { Field, FIELDS } from '../../native/file-request.ts'
import type { FileOperation } from '../../native/operations.ts'
import type { SessionWindow } from '../dax/session-window.ts'
import {
  FUSE_EXT_GROUPS,
  FUSE_MAX_NR_SECCTX,
  FuseExtHeader,
  FuseInHeader,
  FuseInitFlag2,
  FuseOpcode,
  FuseOutHeader,
  FuseSecctx,
  FuseSuppGroups,
} from '../fuse/abi.ts'
import { type FuseChannel, Served } from '../fuse/channel.ts'
import type { FuseCounters } from '../fuse/counters.ts'
import type { FuseSession } from '../fuse/session.ts'
import { Waits } from '../fuse/waits.ts'
import { decodeComponent, decodeString, getU64, NAME_MAX, ReplyBody, WireBytes } from '../fuse/wire.ts'
import type { FileSystem } from '../passthrough/file-system.ts'

/** A handler's result for a request that it has completed through the channel itself. */
export const COMPLETED = -0x10000
/** A handler's result: the stop of the queue interrupted it, and it can be done again from the start. */
export const INTERRUPTED = -0x10001

/** Requests have extensions since 7.38. */
const EXTENSIONS_MINOR = 38

/**
 * How long a request waits at most for another program's lease. The host ends a lease after /proc/sys/fs/lease-break-time,
 * 45 s if nobody has changed it; a file system that says EAGAIN for other reasons must not be asked for ever, because Linux's
 * virtio-fs driver sends no INTERRUPT.
 */
const LEASE_PATIENCE_MS = 120_000

/** Where the operation's own struct begins in the request. */
export const BODY = FuseInHeader.SIZE

/** On whose behalf a request runs, as the guest says. */
interface Caller {
  uid: number
  gid: number
  /** That came with a create request, 32 bits each; of length 0 for none. */
  readonly supplementaryGroups: WireBytes
  /** The extended attribute that what is created must be born with, and its value; a name of length 0 for none. */
  readonly labelName: WireBytes
  readonly label: WireBytes
}

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
  /** End of the operation's own bytes: the request's length less its extensions. */
  end = 0
  readonly caller: Caller = {
    uid: 0,
    gid: 0,
    supplementaryGroups: new WireBytes(),
    labelName: new WireBytes(),
    label: new WireBytes(),
  }
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
    const { caller } = this
    caller.uid = view.getUint32(FuseInHeader.uid, true)
    caller.gid = view.getUint32(FuseInHeader.gid, true)
    caller.supplementaryGroups.length = 0
    caller.labelName.length = 0
    this.end = length < copied ? length : copied
    const extensions = view.getUint16(FuseInHeader.total_extlen, true) * 8
    // Older guests have padding there, and may leave anything in it.
    if (extensions === 0 || this.session.minor < EXTENSIONS_MINOR || this.opcode === FuseOpcode.INIT) return 0
    // They are at the end, which must be among what was copied.
    return length > copied ? -Errno.EINVAL : this.#decodeExtensions(extensions)
  }

  /** Does an operation with the record. */
  call(operation: FileOperation): number {
    return operation(this.record, this.source, this.reply.bytes)
  }

  /** As `call`, for one that gives a file to somebody. */
  callForOwner(operation: FileOperation): number {
    const result = this.call(operation)
    if (result === -Errno.EPERM) this.fileSystem.ownerRefused()
    return result
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

  /** As `takeName`, for a string of at most `maximum` bytes of any kind; `tooLong`: what to answer to a longer one. */
  takeText(start: number, maximum: number, tooLong: number, place: number): number {
    const next = decodeString(this.bytes, start, this.end, maximum, tooLong, this.name)
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

  /**
   * Extensions stand at the end of the request, one after the other, each a struct fuse_ext_header and its contents
   * padded to 8 bytes.
   */
  #decodeExtensions(total: number): number {
    const stop = this.end
    let position = stop - total
    if (position < FuseInHeader.SIZE) return -Errno.EINVAL
    this.end = position
    while (position < stop) {
      if (stop - position < FuseExtHeader.SIZE) return -Errno.EINVAL
      const size = this.view.getUint32(position + FuseExtHeader.size, true)
      const type = this.view.getUint32(position + FuseExtHeader.type, true)
      if (size < FuseExtHeader.SIZE || size > stop - position) return -Errno.EINVAL
      if (type === FUSE_EXT_GROUPS) {
        const body = position + FuseExtHeader.SIZE
        const room = size - FuseExtHeader.SIZE - FuseSuppGroups.SIZE
        if (room < 0) return -Errno.EINVAL
        const groups = this.view.getUint32(body + FuseSuppGroups.nr_groups, true)
        // Linux sends the one group that owns the parent directory, or none; others may send all that the caller has.
        if (room < groups * 4) return -Errno.EINVAL
        this.caller.supplementaryGroups.set(this.bytes, body + FuseSuppGroups.groups, groups * 4)
      }
      if (type <= FUSE_MAX_NR_SECCTX) {
        const result = this.#decodeSecurityContexts(position + FuseExtHeader.SIZE, position + size, type)
        if (result < 0) return result
      }
      position += (size + 7) & ~7
    }
    return 0
  }

  /**
   * Guests between 7.36 and 7.38 have no extensions: there, what is an extension now stands behind the operation's own
   * bytes.
   * @param start where those end
   */
  decodeTrailingContext(start: number): number {
    const { session, view, end } = this
    if (!session.has2(FuseInitFlag2.SECURITY_CTX) || session.minor >= EXTENSIONS_MINOR || start === end) return 0
    if (end - start < FuseExtHeader.SIZE) return -Errno.EINVAL
    const size = view.getUint32(start + FuseExtHeader.size, true)
    if (size < FuseExtHeader.SIZE || size > end - start) return -Errno.EINVAL
    return this.#decodeSecurityContexts(
      start + FuseExtHeader.SIZE,
      start + size,
      view.getUint32(start + FuseExtHeader.type, true),
    )
  }

  /** `count` times struct fuse_secctx, name and value. Linux sends one, or none. */
  #decodeSecurityContexts(start: number, stop: number, count: number): number {
    if (count === 0) return 0
    if (count > 1 || stop - start < FuseSecctx.SIZE) return -Errno.EINVAL
    const { labelName, label } = this.caller
    const size = this.view.getUint32(start + FuseSecctx.size, true)
    const value = decodeString(this.bytes, start + FuseSecctx.SIZE, stop, NAME_MAX, Errno.ERANGE, labelName)
    if (value < 0 || size > stop - value) {
      labelName.length = 0
      return value < 0 ? value : -Errno.EINVAL
    }
    label.set(this.bytes, value, size)
    return 0
  }
}
