// SPDX-License-Identifier: Apache-2.0
/**
 * One peer of a socket that main serves. Whatever it sends, it costs the main thread one short message at a time, and nothing is
 * read from it while it has not taken the reply to the last.
 */
import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { FdWatcher, receiveWithFds, sendWithFds } from '../../native/index.ts'

/** No message is longer. */
export const MAX_MESSAGE_BYTES = 4096
/** How long a peer may leave a reply where it is. */
const SEND_PATIENCE_MS = 5000
/** How often to look whether a peer has made room; its socket holds most replies at once. */
const SEND_AGAIN_MS = 20

/** What is spoken with a peer. */
export interface Protocol {
  /** @returns how long the first message is, with its end; undefined: that is not there yet */
  lengthOfFirst(bytes: Uint8Array): number | undefined
  /** A whole message to a reply; does not fail. */
  answer(message: string): Promise<string>
  /** What a peer is told that has sent `MAX_MESSAGE_BYTES` without an end of its message, before it is dropped. */
  readonly tooLong: string
  /** The peer is dropped after its first reply. */
  readonly once: boolean
}

export class PeerConnection {
  readonly #fd: number
  readonly #protocol: Protocol
  readonly #onClose: () => void
  readonly #watcher: FdWatcher
  readonly #buffer = new Uint8Array(MAX_MESSAGE_BYTES)
  #filled = 0
  /** What the peer has not taken yet. */
  #unsent = new Uint8Array(0)
  #sendUntil = 0
  #timer: NodeJS.Timeout | undefined
  #next: NodeJS.Immediate | undefined
  #closed = false
  #closing = false
  #answering = false

  /**
   * @param fd the socket, owned by this object
   * @param onClose called once
   */
  constructor(fd: number, protocol: Protocol, onClose: () => void) {
    this.#fd = fd
    this.#protocol = protocol
    this.#onClose = onClose
    this.#watcher = new FdWatcher(fd, () => this.#woken())
    this.#watcher.arm()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    clearImmediate(this.#next)
    this.#watcher.close()
    closeSync(this.#fd)
    this.#onClose()
  }

  #woken(): void {
    // Not armed while a message is being answered: the peer has hung up.
    if (this.#unsent.length > 0 || this.#answering || this.#next !== undefined) this.close()
    else this.#receive()
  }

  #receive(): void {
    const fds: number[] = []
    const got = receiveWithFds(this.#fd, this.#buffer, this.#filled, this.#buffer.length - this.#filled, fds)
    // Nobody has asked for any.
    for (const fd of fds) closeSync(fd)
    if (got === -constants.errno.EAGAIN) this.#watcher.arm()
    else if (got <= 0) this.close()
    else {
      this.#filled += got
      this.#serve()
    }
  }

  /** Answers one message, if there is one. */
  #serve(): void {
    const length = this.#protocol.lengthOfFirst(this.#buffer.subarray(0, this.#filled))
    if (length !== undefined) {
      const message = new TextDecoder().decode(this.#buffer.subarray(0, length))
      this.#buffer.copyWithin(0, length, this.#filled)
      this.#filled -= length
      this.#answering = true
      this.#closing = this.#protocol.once
      void this.#protocol.answer(message).then((reply) => this.#begin(reply))
    } else if (this.#filled === this.#buffer.length) {
      this.#closing = true
      this.#begin(this.#protocol.tooLong)
    } else this.#watcher.arm()
  }

  #begin(reply: string): void {
    this.#answering = false
    if (this.#closed) return
    this.#unsent = new TextEncoder().encode(reply)
    this.#sendUntil = Date.now() + SEND_PATIENCE_MS
    this.#send()
  }

  #send(): void {
    const sent = sendWithFds(this.#fd, this.#unsent, [])
    if (sent > 0) {
      this.#unsent = this.#unsent.slice(sent)
      this.#sendUntil = Date.now() + SEND_PATIENCE_MS
    }
    if ((sent < 0 && sent !== -constants.errno.EAGAIN) || Date.now() >= this.#sendUntil) this.close()
    else if (this.#unsent.length > 0) this.#timer = setTimeout(() => this.#send(), SEND_AGAIN_MS)
    else if (this.#closing) this.close()
    else {
      // After whatever else has happened meanwhile: a peer that sends without end holds up nobody.
      this.#next = setImmediate(() => {
        this.#next = undefined
        this.#serve()
      })
    }
  }
}
