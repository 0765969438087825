// SPDX-License-Identifier: Apache-2.0
/** A FuseChannel without a transport: one request from bytes, the reply as bytes. */
import { FuseInHeader, FuseOpcode, FuseOutHeader, FuseWriteIn } from '../abi.ts'
import { type FuseChannel, Served } from '../channel.ts'

export interface FakeReply {
  /** 0 or a negative errno, as on the wire. */
  error: number
  /** The bytes after struct fuse_out_header. */
  body: Uint8Array
}

export class FakeChannel implements FuseChannel {
  /** Exactly as long as the request, so that whoever reads beyond it is found out. */
  request = new DataView(new ArrayBuffer(0))
  requestBytes = new Uint8Array(0)
  requestLength = 0
  payloadLength = 0
  readonly replyView: DataView
  readonly replyBytes: Uint8Array
  replyCapacity = 0
  /** Set by whatever completed the request; `null` for no reply. */
  completion: FakeReply | null | undefined
  /** Is set by tests; there are no other queues. */
  session = 0
  beginSession(): void {}
  /** The request is to come again. */
  givenBack = false
  /** The whole of it. */
  message: Uint8Array = new Uint8Array(0)

  /** A data plane, where there is one: MessageServer.serve. */
  serveMessage: (message: Uint8Array, reply: Uint8Array) => number = () => -1

  constructor(bufferBytes = 1024 * 1024 + 4096) {
    const replyBuffer = new ArrayBuffer(bufferBytes)
    this.replyView = new DataView(replyBuffer)
    this.replyBytes = new Uint8Array(replyBuffer)
  }

  /**
   * Loads a whole message, as the transport would: of a WRITE only the two headers are copied.
   * @param replyCapacity writable bytes of the chain, fuse_out_header included
   */
  load(message: Uint8Array, replyCapacity: number): void {
    const opcode = message.length >= 8 ? new DataView(message.buffer, message.byteOffset).getUint32(4, true) : 0
    const head = opcode === FuseOpcode.WRITE ? FuseInHeader.SIZE + FuseWriteIn.SIZE : message.length
    this.requestLength = Math.min(head, message.length)
    this.requestBytes = new Uint8Array(message.subarray(0, this.requestLength))
    this.request = new DataView(this.requestBytes.buffer)
    this.message = message
    this.payloadLength = message.length - this.requestLength
    this.replyCapacity = replyCapacity
    this.replyBytes.fill(0xdd, 0, 512)
    this.completion = undefined
    this.givenBack = false
  }

  reply(bodyLength: number): void {
    if (bodyLength < 0 || bodyLength + FuseOutHeader.SIZE > this.replyCapacity) {
      throw new Error(`a reply of ${bodyLength} bytes does not fit into ${this.replyCapacity}`)
    }
    this.#complete({ error: 0, body: this.replyBytes.slice(FuseOutHeader.SIZE, FuseOutHeader.SIZE + bodyLength) })
  }

  replyError(errno: number): void {
    if (!Number.isInteger(errno) || errno < 0 || errno > 4095) throw new Error(`${errno} is no error number`)
    this.#complete({ error: errno === 0 ? 0 : -errno, body: new Uint8Array(0) })
  }

  noReply(): void {
    this.#complete(null)
  }

  /** Requests that were set aside, each once, and what they were completed with. */
  readonly deferred = new Map<number, number | undefined>()
  readonly #setAside = new Map<number, { message: Uint8Array; replyCapacity: number }>()
  #resumed: number | undefined

  defer(): number {
    const number = this.#resumed ?? this.deferred.size
    this.#resumed = undefined
    this.deferred.set(number, undefined)
    this.#setAside.set(number, { message: this.message, replyCapacity: this.replyCapacity })
    this.#complete(null)
    return number
  }

  resume(deferred: number): boolean {
    const request = this.#setAside.get(deferred)
    if (request === undefined || !this.deferred.has(deferred)) return false
    this.#setAside.delete(deferred)
    this.load(request.message, request.replyCapacity)
    this.#resumed = deferred
    return true
  }

  serveAgain(): number {
    const { message, replyBytes, replyCapacity } = this
    const size = this.serveMessage(message, replyBytes.subarray(0, Math.min(replyCapacity, replyBytes.length)))
    if (size < 0) return size === -1 ? Served.NO : Served.WAITS
    if (size === 0) this.noReply()
    else this.#replied(size)
    return Served.YES
  }

  giveBack(): void {
    if (this.completion !== undefined) throw new Error('given back after its completion')
    this.givenBack = true
  }

  /** Whoever filled in the whole reply, header included, says how long it is. */
  #replied(length: number): void {
    const error = this.replyView.getInt32(FuseOutHeader.error, true)
    this.#complete({ error, body: this.replyBytes.slice(FuseOutHeader.SIZE, length) })
  }

  #complete(completion: FakeReply | null): void {
    if (this.completion !== undefined) throw new Error('completed twice')
    this.completion = completion
    if (this.#resumed !== undefined) this.deferred.set(this.#resumed, Math.abs(completion?.error ?? 0))
    this.#resumed = undefined
  }
}
