// SPDX-License-Identifier: Apache-2.0
/** Both planes as a queue thread has them, without a ring: what the data plane does not serve goes to the FUSE server. */
import { MessageServer } from '../../../native/testing/index.ts'
import { Served } from '../channel.ts'
import type { FuseServer } from '../../operations/server.ts'
import type { FakeChannel } from './fake-channel.ts'

export class BothPlanes {
  readonly #serveMessage: MessageServer['serve']
  readonly #server: FuseServer

  constructor(directory: number, server: FuseServer) {
    const dataPlane = new MessageServer(directory)
    this.#serveMessage = (message, reply) => dataPlane.serve(message, reply)
    this.#server = server
  }

  /**
   * Serves the channel's request and completes it.
   * @returns whether the data plane did
   */
  handle(channel: FakeChannel): boolean {
    channel.serveMessage = this.#serveMessage
    if (channel.serveAgain() === Served.YES) return true
    this.#server.handle(channel)
    return false
  }
}
