// SPDX-License-Identifier: Apache-2.0
/**
 * The FUSE server of one request queue, for what the data plane does not serve: header, dispatch by opcode, reply. It owns no file system and no window; both
 * come by constructor. Whatever a guest sends ends in a reply (or in none, where FUSE wants none), never in an exception.
 */
import type { SessionWindow } from '../dax/session-window.ts'
import { Errno } from '../errno.ts'
import { FuseOutHeader } from '../fuse/abi.ts'
import type { FuseChannel } from '../fuse/channel.ts'
import type { FuseCounters } from '../fuse/counters.ts'
import type { FuseSession } from '../fuse/session.ts'
import type { Waits } from '../fuse/waits.ts'
import type { FileSystem } from '../passthrough/file-system.ts'
import type { Operation } from './operation.ts'
import { BODY, COMPLETED, INTERRUPTED, RequestContext } from './request-context.ts'
import { OPERATIONS } from './table.ts'

export class FuseServer {
  readonly #context: RequestContext

  /**
   * @param session shared by the servers of all queues
   * @param counters this server's own
   * @param warn logs one line
   */
  constructor(
    fileSystem: FileSystem,
    window: SessionWindow,
    session: FuseSession,
    counters: FuseCounters,
    warn: (message: string) => void = () => {},
  ) {
    this.#context = new RequestContext(fileSystem, window, session, counters, warn)
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
    const served = OPERATIONS[opcode]
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

  /** Told once: a guest asks for something that has mounted elsewhere, and whose state has not been loaded here. */
  onForeign: (opcode: number) => void = () => {}

  /** A request has been answered with ENFILE, here or by the data plane. */
  noteShortage(opcode: number): void {
    this.#context.noteShortage(opcode)
  }

  /** The data plane could not give a file to somebody. */
  noteOwnerRefused(): void {
    this.#context.fileSystem.ownerRefused()
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

  /** A guest that has not mounted, or has unmounted; or one that has mounted elsewhere. */
  #withoutSession({ session, opcode }: RequestContext): number {
    if (!session.foreign) return -Errno.ENOTCONN
    if (session.takeForeign()) this.onForeign(opcode)
    return -Errno.EIO
  }

  #run(context: RequestContext, served: Operation | undefined): number {
    if (served === undefined) return -Errno.ENOSYS
    if (context.end - BODY < served.inSize) return -Errno.EINVAL
    if (context.reply.capacity < served.outSize) return -Errno.EINVAL
    if (!served.early && !context.session.initialized) return this.#withoutSession(context)
    if (served.modifies && context.fileSystem.readOnly) return -Errno.EROFS
    return served.serve(context)
  }
}
