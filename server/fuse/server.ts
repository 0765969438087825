// SPDX-License-Identifier: Apache-2.0
/**
 * The FUSE server of one request queue, for what the data plane does not serve: header, dispatch by opcode, reply. It owns no file system and no window; both
 * come by constructor. Whatever a guest sends ends in a reply (or in none, where FUSE wants none), never in an exception.
 */
import { Errno } from '../errno.ts'
import type { WindowMapper } from '../dax/window-mapper.ts'
import {
  FUSE_COMPAT_INIT_IN_SIZE,
  FUSE_COMPAT_SETXATTR_IN_SIZE,
  FuseAttrOut,
  FuseCreateIn,
  FuseEntryOut,
  FuseGetxattrIn,
  FuseInitOut,
  FuseInterruptIn,
  FuseIoctlIn,
  FuseIoctlOut,
  FuseKstatfs,
  FuseLkIn,
  FuseLkOut,
  FuseLinkIn,
  FuseLseekIn,
  FuseLseekOut,
  FuseMkdirIn,
  FuseMknodIn,
  FuseOpcode,
  FuseOpenOut,
  FuseOutHeader,
  FuseRename2In,
  FuseRenameIn,
  FuseSetattrIn,
  FuseStatxIn,
  FuseStatxOut,
} from './abi.ts'
import type { FuseChannel } from './channel.ts'
import type { FuseCounters } from './counters.ts'
import * as entry from './entry-requests.ts'
import * as file from './file-requests.ts'
import type { FileSystem } from './file-system.ts'
import { handleDestroy, handleInit } from './init.ts'
import * as inode from './inode-requests.ts'
import { handleGetlk, handleInterrupt, handleSetlk, handleSetlkw } from './lock-requests.ts'
import { BODY, COMPLETED, INTERRUPTED, RequestContext } from './request-context.ts'
import { DATA_PLANE } from './services.ts'
import type { FuseSession } from './session.ts'
import type { Waits } from './waits.ts'

/** @returns the length of the body in the reply buffer, `-errno`, COMPLETED, or INTERRUPTED */
type Handler = (context: RequestContext) => number

interface Operation {
  handler: Handler
  /** Bytes that must follow struct fuse_in_header; shorter requests get EINVAL. */
  inSize: number
  /** Bytes that the reply needs after struct fuse_out_header; where they don't fit, EINVAL before anything is done. */
  outSize: number
  /** A read-only file system refuses it. */
  modifies: boolean
  /** FUSE sends no reply, not even an error. */
  silent: boolean
  /** Allowed before FUSE_INIT. */
  early: boolean
}

const operations: (Operation | undefined)[] = []

function operation(
  opcode: number,
  handler: Handler,
  inSize: number,
  outSize = 0,
  traits: Partial<Operation> = {},
): void {
  operations[opcode] = { handler, inSize, outSize, modifies: false, silent: false, early: false, ...traits }
}

const MODIFIES = { modifies: true }
const SILENT = { silent: true }
const SILENT_OPCODES: ReadonlySet<number> = new Set([FuseOpcode.FORGET, FuseOpcode.BATCH_FORGET])
const CREATED = FuseEntryOut.SIZE + FuseOpenOut.SIZE
/** The shortest name, with its NUL. */
const NAME = 2

function noReply(context: RequestContext): number {
  context.channel.noReply()
  return COMPLETED
}

const unsupported: Handler = () => -Errno.ENOSYS

const serveByDataPlane: Handler = (context) => context.serveByDataPlane()

for (const [opcode, modifies] of DATA_PLANE)
  operation(opcode, serveByDataPlane, 0, 0, { modifies, silent: SILENT_OPCODES.has(opcode) })
operation(FuseOpcode.SETATTR, inode.handleSetattr, FuseSetattrIn.SIZE, FuseAttrOut.SIZE, MODIFIES)
operation(FuseOpcode.STATX, inode.handleStatx, FuseStatxIn.SIZE, FuseStatxOut.SIZE)
operation(FuseOpcode.READLINK, inode.handleReadlink, 0, 1)
operation(FuseOpcode.SYMLINK, entry.handleSymlink, 2 * NAME, FuseEntryOut.SIZE, MODIFIES)
operation(FuseOpcode.MKNOD, entry.handleMknod, FuseMknodIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
operation(FuseOpcode.MKDIR, entry.handleMkdir, FuseMkdirIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
operation(FuseOpcode.UNLINK, entry.handleUnlink, NAME, 0, MODIFIES)
operation(FuseOpcode.RMDIR, entry.handleRmdir, NAME, 0, MODIFIES)
operation(FuseOpcode.RENAME, entry.handleRename, FuseRenameIn.SIZE + 2 * NAME, 0, MODIFIES)
operation(FuseOpcode.RENAME2, entry.handleRename2, FuseRename2In.SIZE + 2 * NAME, 0, MODIFIES)
operation(FuseOpcode.LINK, entry.handleLink, FuseLinkIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
operation(FuseOpcode.CREATE, entry.handleCreate, FuseCreateIn.SIZE + NAME, CREATED, MODIFIES)
operation(FuseOpcode.TMPFILE, entry.handleTmpfile, FuseCreateIn.SIZE, CREATED, MODIFIES)
operation(FuseOpcode.STATFS, inode.handleStatfs, 0, FuseKstatfs.SIZE)
operation(FuseOpcode.SETXATTR, inode.handleSetxattr, FUSE_COMPAT_SETXATTR_IN_SIZE + NAME, 0, MODIFIES)
operation(FuseOpcode.GETXATTR, inode.handleGetxattr, FuseGetxattrIn.SIZE + NAME)
operation(FuseOpcode.LISTXATTR, inode.handleListxattr, FuseGetxattrIn.SIZE)
operation(FuseOpcode.REMOVEXATTR, inode.handleRemovexattr, NAME, 0, MODIFIES)
operation(FuseOpcode.INIT, handleInit, FUSE_COMPAT_INIT_IN_SIZE, FuseInitOut.SIZE, { early: true })
operation(FuseOpcode.DESTROY, handleDestroy, 0, 0, { early: true })
operation(FuseOpcode.LSEEK, file.handleLseek, FuseLseekIn.SIZE, FuseLseekOut.SIZE)
operation(FuseOpcode.IOCTL, file.handleIoctl, FuseIoctlIn.SIZE, FuseIoctlOut.SIZE)
operation(FuseOpcode.INTERRUPT, handleInterrupt, FuseInterruptIn.SIZE, 0, SILENT)
operation(FuseOpcode.NOTIFY_REPLY, noReply, 0, 0, { silent: true, early: true })
operation(FuseOpcode.GETLK, handleGetlk, FuseLkIn.SIZE, FuseLkOut.SIZE)
operation(FuseOpcode.SETLK, handleSetlk, FuseLkIn.SIZE)
operation(FuseOpcode.SETLKW, handleSetlkw, FuseLkIn.SIZE)
// ENOSYS makes the guest decide by itself: permissions come from the attributes.
operation(FuseOpcode.ACCESS, unsupported, 0)
operation(FuseOpcode.BMAP, unsupported, 0)
operation(FuseOpcode.POLL, unsupported, 0)

export class FuseServer {
  readonly #context: RequestContext

  /**
   * @param session shared by the servers of all queues
   * @param counters this server's own
   * @param warn logs one line
   */
  constructor(
    fileSystem: FileSystem,
    mapper: WindowMapper,
    session: FuseSession,
    counters: FuseCounters,
    warn: (message: string) => void = () => {},
  ) {
    this.#context = new RequestContext(fileSystem, mapper, session, counters, warn)
  }

  /** Told once in a session that the server has no descriptors, or no room for inodes, left: the request fails with ENFILE. */
  set onShortage(tell: (opcode: number) => void) {
    this.#context.onShortage = tell
  }

  /** Serves one request and completes it. Synchronous: it returns when the channel may bring the next one. */
  handle(channel: FuseChannel): void {
    const context = this.#context
    const fault = context.begin(channel)
    context.counters.countRequest(context.opcode)
    this.#serve(fault)
  }

  #serve(fault: number): void {
    const context = this.#context
    const { channel, opcode } = context
    const served = operations[opcode]
    const silent = served !== undefined && served.silent
    // Without room for the header nobody could learn what became of it, so nothing is done.
    const unanswerable = !silent && channel.replyCapacity < FuseOutHeader.SIZE
    let result = fault < 0 ? fault : unanswerable ? -Errno.EINVAL : this.#run(context, served)
    if (result === COMPLETED) return
    if (result === -Errno.ENFILE || result === -Errno.EMFILE) {
      // The process's limit is none of the caller's process in the guest.
      result = -Errno.ENFILE
      context.noteShortage(opcode)
    }
    if (result === INTERRUPTED) {
      channel.giveBack()
      return
    }
    if (result < 0) context.counters.countError()
    if (silent || unanswerable) channel.noReply()
    else if (result < 0) channel.replyError(-result)
    else channel.reply(result)
  }

  /** A request has been answered with ENFILE, here or by the data plane. */
  noteShortage(opcode: number): void {
    this.#context.noteShortage(opcode)
  }

  /** See Waits.onStuck. */
  set onStuck(told: Waits['onStuck']) {
    this.#context.waits.onStuck = told
  }

  /** How long the channel may wait for the next request before `retryWaits`, in milliseconds; -1 for ever. */
  get waitMs(): number {
    return this.#context.waits.waitMs
  }

  /** To be called after each request and each time-out: requests that wait are served now, or go on waiting. */
  retryWaits(channel: FuseChannel): void {
    const context = this.#context
    if (context.waits.waitMs < 0) return
    context.waits.retry(channel, context.session, () => this.#serve(context.begin(channel)))
  }

  #run(context: RequestContext, served: Operation | undefined): number {
    if (served === undefined) return -Errno.ENOSYS
    if (context.end - BODY < served.inSize) return -Errno.EINVAL
    if (context.reply.capacity < served.outSize) return -Errno.EINVAL
    if (!served.early && !context.session.initialized) return -Errno.ENOTCONN
    if (served.modifies && context.fileSystem.readOnly) return -Errno.EROFS
    return served.handler(context)
  }
}
