// SPDX-License-Identifier: Apache-2.0
/** What has become of a request that the data plane was asked to serve; values are of native/virtio/request_server.h. */
export const Served = {
  /** It is not for the data plane. */
  NO: 0,
  /** It is completed. */
  YES: 1,
  /** It is completed, with ENFILE. */
  SHORTAGE: 2,
  /** Something on the host that passes is in the way. */
  WAITS: 3,
  /** It is completed, with EPERM: an owner that this process can't give to a file. */
  OWNER_REFUSED: 4,
} as const

/**
 * The seam between transport and FUSE: one request at a time, on the thread of the queue that it came from.
 *
 * The transport copies the request out of the guest once, into a buffer that it owns and reuses, so whatever the
 * FUSE server checks there stays checked. READ, WRITE and what else is hot never comes here: the data plane
 * (native/fuse/) serves it.
 */
export interface FuseChannel {
  /**
   * The request's bytes, from struct fuse_in_header on; `requestLength` of them are valid until the reply.
   * For WRITE these are the two headers only (80 bytes), for any other opcode the whole request.
   */
  readonly request: DataView
  readonly requestBytes: Uint8Array
  readonly requestLength: number
  /** Readable bytes of the chain that were not copied: the data of a WRITE, 0 otherwise. */
  readonly payloadLength: number
  /** Scratch for the reply, from struct fuse_out_header on; the header is filled in by `reply`/`replyError`. */
  readonly replyView: DataView
  readonly replyBytes: Uint8Array
  /** Writable bytes of the chain (fuse_out_header included); 0 where no reply is wanted (FORGET). */
  readonly replyCapacity: number

  /**
   * The number of the guest's session in which the last request was taken. A request of an older one than the present adds
   * nothing to the file system's tables or the window any more: -ENOTCONN.
   */
  readonly session: number

  /** The current request (INIT, DESTROY) ends the session and begins the next one, on all queues. */
  beginSession(): void
  /** Completes with error 0 and `bodyLength` bytes that stand at offset 16 of the reply buffer. */
  reply(bodyLength: number): void
  /** Completes with `-errno`, or with 0 and no body. `errno` is positive. */
  replyError(errno: number): void
  /** Completes without a reply (FORGET, BATCH_FORGET). */
  noReply(): void
  /**
   * Leaves the request in the queue, as if it had not been taken: for one that the stop of its queue interrupted. It comes
   * again when the queue is started again.
   */
  giveBack(): void
  /**
   * Lets the data plane serve the current request, for one that it could not serve before.
   * @returns a value of `Served`
   */
  serveAgain(): number
  /**
   * Sets the request aside: others are served before it, on the same thread. The stop of its queue answers it with EAGAIN,
   * unless it is a SETUPMAPPING: then the stop waits.
   * @returns a number for it, or `-errno`; then it is still the current request
   */
  defer(): number
  /**
   * Makes a request that was set aside the current one again, with `session` the present one.
   * @returns false once the stop of its queue has completed it
   */
  resume(deferred: number): boolean
}
