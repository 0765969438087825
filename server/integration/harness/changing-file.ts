// SPDX-License-Identifier: Apache-2.0
/** A file that a guest makes, writes, appends to, reads, links, opens, renames, unlinks, closes and forgets, again and again, with a model of what it holds. */
import { Opcode, ROOT_ID } from './fuse-abi.ts'
import type { FuseTransport, PendingRequest } from './fuse-transport.ts'
import { cString, pack } from './wire.ts'

const O_RDWR = 2
const O_EXCL = 0o200
const O_APPEND = 0o2000
const ENTRY_BYTES = 128
/** CREATE, LINK and LOOKUP. */
const COUNTS = 3

/** After so many the file is gone. */
export const STEPS = 14

/** A request, and what it must have been answered with, once it is. */
export interface Step {
  readonly request: PendingRequest
  readonly check: () => void
}

function same<T>(have: T, wanted: T, what: string): void {
  if (have !== wanted) throw new Error(`${what}: ${String(have)}, not ${String(wanted)}`)
}

/** Bytes as how many there are of each, one after the other. */
function runs(bytes: Iterable<number>): string {
  const found: [number, number][] = []
  for (const byte of bytes) {
    const last = found.at(-1)
    if (last?.[0] === byte) last[1]++
    else found.push([byte, 1])
  }
  return found.map(([byte, count]) => `${count} of ${byte}`).join(', ')
}

/** One name of its own, on which one request is under way at a time. */
export class ChangingFile {
  readonly #transport: FuseTransport
  readonly #name: string
  #turn = 0
  #nodeid = 0n
  #fh = 0n
  #second = 0n
  #other = ''
  readonly content: number[] = []

  constructor(transport: FuseTransport, name: string) {
    this.#transport = transport
    this.#name = name
  }

  /** Starts the next step. The one before must have been checked. */
  step(): Step {
    const turn = this.#turn
    this.#turn = (turn + 1) % STEPS
    switch (turn) {
      case 0: {
        this.content.length = 0
        const args = pack(['u32', O_RDWR | O_EXCL], ['u32', 0o100644], ['u32', 0o22], ['u32', 0], cString(this.#name))
        const request = this.#send(Opcode.CREATE, ROOT_ID, args, ENTRY_BYTES + 16)
        return this.#succeeds(request, () => {
          const view = new DataView(request.body.buffer, request.body.byteOffset)
          this.#nodeid = view.getBigUint64(0, true)
          this.#fh = view.getBigUint64(ENTRY_BYTES, true)
        })
      }
      case 1:
      case 2:
      case 3: {
        const data = Buffer.alloc(1 + Math.floor(Math.random() * 6000), 0x41 + turn)
        const at = this.content.length
        const flags = turn === 1 ? 0 : O_APPEND
        const args = pack(
          ['u64', this.#fh],
          ['u64', at],
          ['u32', data.length],
          ['u32', 0],
          ['u64', 0],
          ['u32', flags],
          ['u32', 0],
        )
        const request = this.#transport.submit(Opcode.WRITE, this.#nodeid, args, { data, replyBytes: 8 })
        return this.#succeeds(request, () => {
          same(new DataView(request.body.buffer, request.body.byteOffset).getUint32(0, true), data.length, 'written')
          for (const byte of data) this.content.push(byte)
        })
      }
      case 4: {
        const size = this.content.length + 10
        const args = pack(['u64', this.#fh], ['u64', 0], ['u32', size], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', 0])
        const request = this.#transport.submit(Opcode.READ, this.#nodeid, args, { dataRoom: size })
        return this.#succeeds(request, () => same(runs(request.body), runs(this.content), 'contents'))
      }
      case 5: {
        const request = this.#send(Opcode.LINK, ROOT_ID, pack(['u64', this.#nodeid], cString(`${this.#name}-link`)))
        return this.#succeeds(request, () => {
          same(new DataView(request.body.buffer, request.body.byteOffset).getBigUint64(0, true), this.#nodeid, 'nodeid')
        })
      }
      case 6:
        return this.#succeeds(this.#send(Opcode.LOOKUP, ROOT_ID, cString(`${this.#name}-link`)))
      case 7: {
        const request = this.#send(Opcode.OPEN, this.#nodeid, pack(['u32', O_RDWR], ['u32', 0]), 16)
        return this.#succeeds(request, () => {
          this.#second = new DataView(request.body.buffer, request.body.byteOffset).getBigUint64(0, true)
        })
      }
      case 8: {
        this.#other = `${this.#name}-moved`
        const args = pack(['u64', ROOT_ID], cString(`${this.#name}-link`), cString(this.#other))
        return this.#succeeds(this.#send(Opcode.RENAME, ROOT_ID, args, 0))
      }
      case 9:
        return this.#succeeds(this.#send(Opcode.UNLINK, ROOT_ID, cString(this.#name), 0))
      case 10:
        return this.#succeeds(this.#send(Opcode.UNLINK, ROOT_ID, cString(this.#other), 0))
      case 11:
        // Also once it has no name any more.
        return this.#release(this.#fh)
      case 12:
        return this.#release(this.#second)
      default: {
        const args = pack(['u64', BigInt(COUNTS)])
        const request = this.#transport.submit(Opcode.FORGET, this.#nodeid, args, { noReply: true })
        return { request, check: () => {} }
      }
    }
  }

  #release(fh: bigint): Step {
    const args = pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', 0])
    return this.#succeeds(this.#send(Opcode.RELEASE, this.#nodeid, args, 0))
  }

  #send(opcode: number, nodeid: bigint, args: Uint8Array, replyBytes = ENTRY_BYTES): PendingRequest {
    return this.#transport.submit(opcode, nodeid, args, { replyBytes })
  }

  #succeeds(request: PendingRequest, then: () => void = () => {}): Step {
    return {
      request,
      check: () => {
        same(request.error, 0, `opcode ${request.opcode}`)
        then()
      },
    }
  }
}
