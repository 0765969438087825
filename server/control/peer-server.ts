// SPDX-License-Identifier: Apache-2.0
/** Serves a socket from the main thread. Queue threads know nothing of it, so that no peer can hold up a queue. */
import { closeSync } from 'node:fs'
import { acceptUnix, FdWatcher } from '../../native/index.ts'
import { PeerConnection, type Protocol } from './peer-connection.ts'

/** Peers at a time; others are turned away. */
export const MAX_PEERS = 8

export class PeerServer {
  readonly #protocol: Protocol
  readonly #peers = new Set<PeerConnection>()
  readonly #listener: number
  readonly #watcher: FdWatcher

  /** @param listener a stream socket that listens, owned by this object */
  constructor(listener: number, protocol: Protocol) {
    this.#listener = listener
    this.#protocol = protocol
    this.#watcher = new FdWatcher(listener, () => this.#accept())
    this.#watcher.arm()
  }

  close(): void {
    this.#watcher.close()
    closeSync(this.#listener)
    for (const peer of this.#peers) peer.close()
  }

  #accept(): void {
    const fd = acceptUnix(this.#listener)
    if (fd >= 0) this.adopt(fd)
    this.#watcher.arm()
  }

  /** Serves a peer, or turns it away. @param fd its socket, owned by this object from now on */
  adopt(fd: number): void {
    if (this.#peers.size >= MAX_PEERS) {
      closeSync(fd)
      return
    }
    const peer: PeerConnection = new PeerConnection(fd, this.#protocol, () => this.#peers.delete(peer))
    this.#peers.add(peer)
  }
}
