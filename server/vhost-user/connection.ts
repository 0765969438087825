// SPDX-License-Identifier: Apache-2.0
/** One frontend's socket: reads messages one after the other, has each handled, and sends the replies. */
import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { FdWatcher, peekWithFds, receiveWithFds, sendWithFds, skipBytes } from '../../native/index.ts'
import { decodeHeader, encodeReply, encodeU64, HEADER_BYTES, MAX_PAYLOAD_BYTES, type Message } from './message.ts'
import { bringsFds, requestName, VhostUserError } from './message.ts'

/** Answers one request: a reply's payload, or nothing where the request has none of its own. */
export interface MessageHandler {
  handle(message: Message): Promise<Uint8Array | undefined> | Uint8Array | undefined
  /** Whether the frontend has negotiated REPLY_ACK. */
  readonly replyAck: boolean
}

/**
 * Where a successor of this process may have to go on: a message stays in the socket until what it has brought about is put
 * down, so that it is served again where it was not.
 */
export interface MessageKeeper {
  /** A message has been served, and this is its reply, if it has one. */
  served(reply: Uint8Array | undefined): void
  /** Sends the reply. @returns 0 or `-errno` */
  send(connection: number): number
  /** Sends what a predecessor has left to be sent. */
  resume(connection: number): void
}

/** How long until the rest of a message is looked for that has come in part. */
const REST_MS = 5

export class Connection {
  readonly #fd: number
  readonly #keeper: MessageKeeper | undefined
  readonly #handler: MessageHandler
  readonly #onClose: (error: Error | undefined) => void
  readonly #watcher: FdWatcher
  readonly #buffer = new Uint8Array(HEADER_BYTES + MAX_PAYLOAD_BYTES)
  readonly #view = new DataView(this.#buffer.buffer)
  #filled = 0
  /** Bytes of the message that is served and still in the socket. */
  #peeked = 0
  #fds: number[] = []
  #draining = false
  #closed = false

  /**
   * @param fd the socket, owned by this object
   * @param onClose called once: without error where the frontend has hung up
   */
  constructor(
    fd: number,
    handler: MessageHandler,
    onClose: (error: Error | undefined) => void,
    keeper?: MessageKeeper,
  ) {
    this.#fd = fd
    this.#keeper = keeper
    this.#handler = handler
    this.#onClose = onClose
    this.#watcher = new FdWatcher(fd, () => this.#woken())
    keeper?.resume(fd)
    this.#watcher.arm()
  }

  /** Drops the frontend. */
  close(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#watcher.close()
    for (const fd of this.#fds.splice(0)) closeSync(fd)
    closeSync(this.#fd)
    this.#onClose(error)
  }

  #woken(): void {
    // Not armed: the frontend has hung up while its message waits for a queue, which may take for ever.
    if (this.#draining) this.close()
    else void this.#drain()
  }

  // Never runs twice at a time: the watcher is armed again only at its end.
  async #drain(): Promise<void> {
    this.#draining = true
    try {
      while (!this.#closed) {
        const message = this.#keeper === undefined ? this.#receive() : this.#peek()
        if (message === 'incomplete') {
          await new Promise((resolve) => setTimeout(resolve, REST_MS))
          continue
        }
        if (message === undefined) break
        await this.#serve(message)
      }
      this.#draining = false
      if (!this.#closed) this.#watcher.arm()
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** The next whole message, or nothing where it has not arrived yet (or the connection is closed now). */
  #receive(): Message | undefined {
    for (;;) {
      // The header alone first, so that descriptors are never taken for those of a later message.
      let wanted = HEADER_BYTES
      let header: ReturnType<typeof decodeHeader> | undefined
      if (this.#filled >= HEADER_BYTES) {
        header = decodeHeader(this.#view)
        wanted = HEADER_BYTES + header.payloadBytes
      }
      if (header !== undefined && this.#filled === wanted) {
        // A copy: the buffer is needed for the next message while handlers may still look at this one.
        const payload = new DataView(this.#buffer.slice(HEADER_BYTES, wanted).buffer)
        this.#filled = 0
        return { request: header.request, needReply: header.needReply, payload, fds: this.#fds.splice(0) }
      }
      const got = receiveWithFds(this.#fd, this.#buffer, this.#filled, wanted - this.#filled, this.#fds)
      if (got === -constants.errno.EAGAIN) return undefined
      if (got === 0 || got === -constants.errno.ECONNRESET) {
        if (this.#filled > 0) throw new VhostUserError('ERR_VHOST_USER_EOF', 'the frontend hung up within a message')
        this.close()
        return undefined
      }
      if (got < 0)
        throw new VhostUserError('ERR_VHOST_USER_SOCKET', `receiving from the frontend failed: errno ${-got}`)
      this.#filled += got
    }
  }

  /** The same, and it stays in the socket until `#send` or `#consume`. */
  #peek(): Message | 'incomplete' | undefined {
    const fds: number[] = []
    const abandon = (): void => {
      for (const fd of fds.splice(0)) closeSync(fd)
    }
    const head = peekWithFds(this.#fd, this.#buffer, HEADER_BYTES, fds)
    if (head === HEADER_BYTES) {
      const { request, needReply, payloadBytes } = decodeHeader(this.#view)
      const whole = HEADER_BYTES + payloadBytes
      const got = peekWithFds(this.#fd, this.#buffer, whole)
      if (got === whole) {
        this.#peeked = whole
        // Linux gives who looks the next message's descriptors where this one has none.
        if (!bringsFds(request, this.#view)) abandon()
        return { request, needReply, payload: new DataView(this.#buffer.slice(HEADER_BYTES, whole).buffer), fds }
      }
    }
    abandon()
    if (head === -constants.errno.EAGAIN) return undefined
    if (head > 0) return 'incomplete'
    if (head < 0 && head !== -constants.errno.ECONNRESET)
      throw new VhostUserError('ERR_VHOST_USER_SOCKET', `receiving from the frontend failed: errno ${-head}`)
    this.close()
    return undefined
  }

  /** What the message has brought about is there. */
  #consume(reply: Uint8Array | undefined): void {
    if (this.#keeper === undefined || this.#closed) return
    this.#keeper.served(reply)
    skipBytes(this.#fd, this.#peeked)
    this.#peeked = 0
  }

  async #serve(message: Message): Promise<void> {
    this.onMessage(requestName(message.request))
    const acknowledge = message.needReply && this.#handler.replyAck
    try {
      const payload = await this.#handler.handle(message)
      if (payload !== undefined) this.#send(message.request, payload)
      else if (acknowledge) this.#send(message.request, encodeU64(0n))
      else this.#consume(undefined)
    } catch (error) {
      // With REPLY_ACK the frontend learns that it failed and decides; without, going on would hide it.
      if (!(error instanceof VhostUserError) || !acknowledge) throw error
      this.onFault(error)
      this.#send(message.request, encodeU64(1n))
    } finally {
      for (const fd of message.fds.splice(0)) closeSync(fd)
    }
  }

  /** Set by the owner to log messages. */
  onMessage: (name: string) => void = () => {}

  /** Set by the owner to log faults that were answered rather than fatal. */
  onFault: (error: VhostUserError) => void = () => {}

  #send(request: number, payload: Uint8Array): void {
    if (this.#closed) return
    const bytes = encodeReply(request, payload)
    this.#consume(bytes)
    const kept = this.#keeper?.send(this.#fd)
    const sent = kept === undefined ? sendWithFds(this.#fd, bytes, []) : kept === 0 ? bytes.length : kept
    if (sent !== bytes.length) {
      throw new VhostUserError(
        'ERR_VHOST_USER_SOCKET',
        `${requestName(request)}: the reply could not be sent (${sent})`,
      )
    }
  }
}
