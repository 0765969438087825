// SPDX-License-Identifier: Apache-2.0
/** A queue thread's requests as the FUSE server sees them. */
import { QueueWorker } from '../../native/index.ts'
import type { FuseChannel } from '../fuse/channel.ts'

export const STOPPED = -1
export const TIMED_OUT = -2
export const SHORTAGE = -3
export const OWNER_REFUSED = -4

export class QueueChannel implements FuseChannel {
  readonly request: DataView
  readonly requestBytes: Uint8Array
  readonly replyView: DataView
  readonly replyBytes: Uint8Array
  readonly #worker: QueueWorker
  readonly #state: Uint32Array

  /** @param directory what the data plane serves by itself; see QueueWorkerConstructor */
  constructor(deviceId: number, workerIndex: number, directory: number) {
    this.#worker = new QueueWorker(deviceId, workerIndex, directory)
    this.request = new DataView(this.#worker.requestBuffer)
    this.requestBytes = new Uint8Array(this.#worker.requestBuffer)
    this.replyView = new DataView(this.#worker.replyBuffer)
    this.replyBytes = new Uint8Array(this.#worker.replyBuffer)
    this.#state = this.#worker.state
  }

  /**
   * Waits for the next request that the data plane does not serve.
   * @param timeoutMs how long at most; -1 for ever
   * @returns its queue, STOPPED once the device shuts down, TIMED_OUT, SHORTAGE when the data plane has answered a request with ENFILE,
   * or OWNER_REFUSED when a file could not be given to somebody
   */
  next(timeoutMs = -1): number {
    return this.#worker.next(timeoutMs)
  }

  /** Lets go of the queues. */
  close(): void {
    this.#worker.close()
  }

  get requestLength(): number {
    return this.#state[0] ?? 0
  }

  get payloadLength(): number {
    return this.#state[1] ?? 0
  }

  get replyCapacity(): number {
    return this.#state[2] ?? 0
  }

  reply(bodyLength: number): void {
    this.#worker.reply(bodyLength)
  }

  replyError(errno: number): void {
    this.#worker.replyError(errno)
  }

  noReply(): void {
    this.#worker.noReply()
  }

  defer(): number {
    return this.#worker.defer()
  }

  resume(deferred: number): boolean {
    return this.#worker.resume(deferred) === 0
  }

  get session(): number {
    return this.#state[3] ?? 0
  }

  beginSession(): void {
    this.#worker.beginSession()
  }

  serveAgain(): number {
    return this.#worker.serveAgain()
  }

  giveBack(): void {
    this.#worker.giveBack()
  }
}
