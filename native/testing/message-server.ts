// SPDX-License-Identifier: Apache-2.0
/** The data plane without a ring, for tests and /dev/fuse: message_server.cc. */

export interface MessageServer {
  /**
   * Serves one message as the policy of its directory says.
   * @param message struct fuse_in_header and what follows
   * @param reply as long as the guest's buffer for it, struct fuse_out_header included
   * @returns the reply's length, 0 where FUSE wants none, -1 where the request is the control plane's, or -2 where it can be served
   *   later
   */
  serve(message: Uint8Array, reply: Uint8Array): number
}

export type MessageServerConstructor = new (directory: number) => MessageServer
