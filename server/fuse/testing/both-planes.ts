// SPDX-License-Identifier: Apache-2.0
/** Both planes as a queue thread has them, without a ring: what the data plane does not serve goes to the FUSE server. */
import { MessageServer } from '../../../native/index.ts'
import type { FuseServer } from '../server.ts'
import type { FakeChannel } from './fake-channel.ts'

export class BothPlanes {
  readonly #dataPlane: MessageServer
  readonly #server: FuseServer

  constructor(directory: number, server: FuseServer) {
    this.#dataPlane = new MessageServer(directory)
    this.#server = server
  }

  /**
   * Serves the channel's request and completes it.
   * @returns whether the data plane did
   */
  handle(channel: FakeChannel): boolean {
    const { message, replyBytes, replyCapacity } = channel
    const size = this.#dataPlane.serve(message, replyBytes.subarray(0, Math.min(replyCapacity, replyBytes.length)))
    if (size < 0) this.#server.handle(channel)
    else if (size === 0) channel.noReply()
    else channel.replied(size)
    return size >= 0
  }
}
