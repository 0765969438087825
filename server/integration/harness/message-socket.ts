// SPDX-License-Identifier: Apache-2.0
/** A vhost-user socket: whole messages with their descriptors, in either direction. */
import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { testing } from '../../../native/testing/index.ts'
import { Flag, HEADER_BYTES } from './vhost-user.ts'
import { pack, Unpacker } from './wire.ts'

/** A received message; its descriptors are the receiver's. */
export interface Message {
  readonly request: number
  readonly flags: number
  readonly payload: Uint8Array
  readonly fds: number[]
}

/** The other side has closed the socket. */
export class Disconnected extends Error {
  override readonly name = 'Disconnected'
}

/** Throws for `-errno`, passes any other result on. */
export function checked(what: string, result: number): number {
  if (result < 0) {
    throw Object.assign(new Error(`${what}: ${getSystemErrorName(result)}`), { code: getSystemErrorName(result) })
  }
  return result
}

/** Owns the socket. */
export class MessageSocket {
  readonly fd: number
  #closed = false

  constructor(fd: number) {
    this.fd = fd
  }

  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.sendRaw(pack(['u32', request], ['u32', flags], ['u32', payload.length], payload), fds)
  }

  /** Any bytes at all. */
  sendRaw(bytes: Uint8Array, fds: readonly number[] = []): void {
    let sent = 0
    while (sent < bytes.length) {
      const result = testing.sendMessage(this.fd, bytes.subarray(sent), Int32Array.from(sent === 0 ? fds : []))
      if (result < 0 && ['EPIPE', 'ECONNRESET'].includes(getSystemErrorName(result))) {
        throw new Disconnected('the daemon has closed the connection')
      }
      sent += checked('sendmsg', result)
    }
  }

  /** @returns the next message; waits for it at most `timeoutMs`, undefined where none has come */
  receive(timeoutMs: number): Message | undefined {
    if (!this.readable(timeoutMs)) {
      return undefined
    }
    const fds: number[] = []
    const header = new Unpacker(this.#read(HEADER_BYTES, fds))
    const request = header.u32()
    const flags = header.u32()
    const payload = this.#read(header.u32(), fds)
    return { request, flags, payload, fds }
  }

  /** Whether there is a message, or the end. */
  readable(timeoutMs: number): boolean {
    return testing.poll(Int32Array.of(this.fd), new Int16Array(1), timeoutMs) > 0
  }

  /** Whether the other side has hung up; takes nothing away from a message. */
  get ended(): boolean {
    const revents = new Int16Array(1)
    testing.poll(Int32Array.of(this.fd), revents, 0)
    const POLLHUP = 0x10
    return ((revents[0] ?? 0) & POLLHUP) !== 0
  }

  #read(length: number, fds: number[]): Uint8Array {
    const bytes = new Uint8Array(length)
    let have = 0
    while (have < length) {
      const result = testing.receiveMessage(this.fd, bytes.subarray(have), fds)
      if (result === 0 || getSystemErrorNameOf(result) === 'ECONNRESET') {
        throw new Disconnected('the daemon has closed the connection')
      }
      if (getSystemErrorNameOf(result) === 'EAGAIN') {
        if (!this.readable(10_000)) {
          throw new Error(`half a message: ${have} of ${length} bytes`)
        }
        continue
      }
      have += checked('recvmsg', result)
    }
    return bytes
  }

  reply(to: Message, payload: Uint8Array): void {
    this.send(to.request, Flag.VERSION | Flag.REPLY, payload)
  }

  close(): void {
    if (!this.#closed) {
      this.#closed = true
      closeSync(this.fd)
    }
  }
}

function getSystemErrorNameOf(result: number): string {
  return result < 0 ? getSystemErrorName(result) : ''
}
