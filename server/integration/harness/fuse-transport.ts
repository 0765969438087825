// SPDX-License-Identifier: Apache-2.0
/**
 * Carries FUSE requests over virtqueues as the Linux driver lays them out:
 *
 *   readable  fuse_in_header | arguments | data pages ...
 *   writable  fuse_out_header | fixed-size reply | data pages ...
 */
import { getSystemErrorName } from 'node:util'
import { testing } from '../../../native/testing/index.ts'
import { IN_HEADER_BYTES, OUT_HEADER_BYTES } from './fuse-abi.ts'
import { PATIENCE } from './daemon.ts'
import type { Frontend } from './frontend.ts'
import type { GuestMemory, Segment } from './guest-memory.ts'
import { checked } from './message-socket.ts'
import type { VirtqueueDriver } from './virtqueue-driver.ts'
import { pack, Unpacker } from './wire.ts'

/** libuv has no names for these. */
const NAMELESS = new Map([
  [116, 'ESTALE'],
  [122, 'EDQUOT'],
])

/** The server answered with an error. */
export class FuseError extends Error {
  override readonly name = 'FuseError'
  readonly opcode: number
  /** As `ENOENT`. */
  readonly code: string

  constructor(opcode: number, error: number) {
    const code = NAMELESS.get(-error) ?? getSystemErrorName(error)
    super(`opcode ${opcode}: ${code}`)
    this.opcode = opcode
    this.code = code
  }
}

/** Who asks; in the header of each request. */
export interface Credentials {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

/** How a request travels. */
export interface RequestOptions {
  readonly queue?: VirtqueueDriver
  readonly credentials?: Credentials
  /** Data of a WRITE; or where it already lies in guest physical memory. */
  readonly data?: Uint8Array | readonly Segment[]
  /** Fixed-size part of the reply, bytes. */
  readonly replyBytes?: number
  /** Room for variable data after it; or where it shall go. */
  readonly dataRoom?: number | readonly Segment[]
  /** No reply is wanted (FORGET): the chain has no writable part. */
  readonly noReply?: boolean
  /** Extensions (struct fuse_ext_header and what follows) that stand behind the arguments; a multiple of 8 bytes. */
  readonly extension?: Uint8Array
  /** What the header's last word has instead of the extensions' length. */
  readonly padding?: number
  /** Overrides fuse_in_header.len. */
  readonly headerLength?: number
}

/** A request in flight, or its result. */
export class PendingRequest {
  readonly opcode: number
  readonly unique: bigint
  done = false
  /** 0 or a negative errno. */
  error = 0
  /** The reply without its header, less what went to segments of the caller's. */
  body: Uint8Array = new Uint8Array(0)
  /** What the used ring said. */
  usedLength = 0
  readonly complete: (usedLength: number) => void

  constructor(opcode: number, unique: bigint, complete: (request: PendingRequest, usedLength: number) => void) {
    this.opcode = opcode
    this.unique = unique
    this.complete = (usedLength) => {
      this.usedLength = usedLength
      complete(this, usedLength)
      this.done = true
    }
  }

  /** The body; throws FuseError for an error reply. */
  result(): Uint8Array {
    if (!this.done) {
      throw new Error(`opcode ${this.opcode} is still in flight`)
    }
    if (this.error !== 0) {
      throw new FuseError(this.opcode, this.error)
    }
    return this.body
  }
}

/** Longer than any request may take; only a failing test waits that long. */
const REQUEST_TIMEOUT_MS = 60_000 * PATIENCE
const PAGE = 4096

/** The driver: requests out, replies in, and the frontend's backend channel served meanwhile. */
export class FuseTransport {
  readonly frontend: Frontend
  readonly memory: GuestMemory
  readonly queues: readonly VirtqueueDriver[]
  credentials: Credentials = { uid: 0, gid: 0, pid: 4711 }
  /** The first request queue. */
  readonly requestQueue: VirtqueueDriver
  /** Why the daemon must be dead, if it is; asked while waiting. */
  onIdle: (() => void) | undefined
  readonly #pending = new Map<VirtqueueDriver, Map<number, PendingRequest>>()
  #unique = 2n

  constructor(frontend: Frontend, memory: GuestMemory, queues: readonly VirtqueueDriver[]) {
    this.frontend = frontend
    this.memory = memory
    this.queues = queues
    const requestQueue = queues[1] ?? queues[0]
    if (requestQueue === undefined) {
      throw new RangeError('a transport needs a queue')
    }
    this.requestQueue = requestQueue
    for (const queue of queues) {
      this.#pending.set(queue, new Map())
    }
  }

  /** Sends one request and returns at once. */
  submit(
    opcode: number,
    nodeid: bigint,
    args: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): PendingRequest {
    const queue = options.queue ?? this.requestQueue
    const before = queue.availableIndex
    const request = this.enqueue(opcode, nodeid, args, options)
    queue.kick(before)
    return request
  }

  /** Puts a request into the queue without telling the daemon. */
  enqueue(opcode: number, nodeid: bigint, args: Uint8Array, options: RequestOptions): PendingRequest {
    const queue = options.queue ?? this.requestQueue
    const { uid, gid, pid } = options.credentials ?? this.credentials
    const owned: Segment[] = []
    const place = (length: number): Segment => {
      const segment = { gpa: this.memory.allocate(length), length }
      owned.push(segment)
      return segment
    }
    const copyIn = (bytes: Uint8Array): Segment => {
      const segment = place(bytes.length)
      this.memory.bytes(segment.gpa, bytes.length).set(bytes)
      return segment
    }
    const data = options.data ?? []
    const dataSegments = data instanceof Uint8Array ? pagesOf(data).map(copyIn) : data
    const extension = options.extension ?? new Uint8Array(0)
    const length = IN_HEADER_BYTES + args.length + extension.length + dataSegments.reduce((sum, s) => sum + s.length, 0)
    const unique = (this.#unique += 2n)
    const header = pack(
      ['u32', options.headerLength ?? length],
      ['u32', opcode],
      ['u64', unique],
      ['u64', nodeid],
      ['u32', uid],
      ['u32', gid],
      ['u32', pid],
      ['u32', options.padding ?? extension.length / 8],
    )
    const readable = [header, args, extension].filter((bytes) => bytes.length > 0).map(copyIn)
    readable.push(...dataSegments)
    const writable: Segment[] = []
    const read: Segment[] = []
    if (options.noReply !== true) {
      read.push(place(OUT_HEADER_BYTES))
      const replyBytes = options.replyBytes ?? 0
      if (replyBytes > 0) {
        read.push(place(replyBytes))
      }
      const room = options.dataRoom ?? 0
      if (typeof room === 'number') {
        for (let left = room; left > 0; left -= PAGE) {
          read.push(place(Math.min(left, PAGE)))
        }
        writable.push(...read)
      } else {
        writable.push(...read, ...room)
      }
      for (const segment of read) {
        this.memory.bytes(segment.gpa, segment.length).fill(0xee)
      }
    }
    const request = new PendingRequest(opcode, unique, (done, usedLength) => {
      try {
        if (options.noReply !== true) {
          this.#finish(done, read, usedLength)
        }
      } finally {
        for (const segment of owned) {
          this.memory.release(segment.gpa, segment.length)
        }
      }
    })
    const head = queue.add(readable, writable)
    this.#pending.get(queue)?.set(head, request)
    return request
  }

  /** Takes the reply out of guest memory and checks what any reply must satisfy. */
  #finish(request: PendingRequest, segments: readonly Segment[], usedLength: number): void {
    const bytes = Buffer.concat(segments.map((s) => this.memory.bytes(s.gpa, s.length)))
    const header = new Unpacker(bytes)
    const length = header.u32()
    request.error = header.i32()
    const unique = header.u64()
    if (unique !== request.unique) {
      throw new Error(`opcode ${request.opcode}: the reply is for request ${unique}, not ${request.unique}`)
    }
    if (length < OUT_HEADER_BYTES || length !== usedLength) {
      throw new Error(`opcode ${request.opcode}: reply of ${length} bytes, the used ring says ${usedLength}`)
    }
    if (request.error !== 0 && length !== OUT_HEADER_BYTES) {
      throw new Error(`opcode ${request.opcode}: error ${request.error} with a body of ${length - OUT_HEADER_BYTES}`)
    }
    if (request.error > 0 || request.error < -4095) {
      throw new Error(`opcode ${request.opcode}: error ${request.error}`)
    }
    request.body = bytes.subarray(OUT_HEADER_BYTES, Math.min(length, bytes.length))
  }

  /**
   * Makes a chain available that the test built itself, from descriptor `head` on.
   * @returns a request of opcode 0; only `done` and `usedLength` mean something
   */
  submitWritten(queue: VirtqueueDriver, head: number): PendingRequest {
    const before = queue.availableIndex
    queue.addWritten(head)
    const request = new PendingRequest(0, 0n, () => undefined)
    this.#pending.get(queue)?.set(head, request)
    queue.kick(before, true)
    return request
  }

  /** The same for a chain of these segments. */
  submitSegments(queue: VirtqueueDriver, readable: readonly Segment[], writable: readonly Segment[]): PendingRequest {
    const before = queue.availableIndex
    const head = queue.add(readable, writable)
    const request = new PendingRequest(0, 0n, () => undefined)
    this.#pending.get(queue)?.set(head, request)
    queue.kick(before)
    return request
  }

  /** Serves the call eventfds and the backend channel once. @returns whether anything came */
  pump(timeoutMs: number): boolean {
    const { backend, socket } = this.frontend
    const fds = [...this.queues.map((queue) => queue.callFd), backend?.fd ?? -1, socket.fd]
    const revents = new Int16Array(fds.length)
    if (checked('poll', testing.poll(Int32Array.from(fds), revents, timeoutMs)) === 0) {
      return false
    }
    if ((revents[this.queues.length] ?? 0) !== 0) {
      this.frontend.serveBackend()
    }
    for (const queue of this.queues) {
      for (const { head, length } of queue.reap()) {
        const pending = this.#pending.get(queue)
        const request = pending?.get(head)
        pending?.delete(head)
        request?.complete(length)
      }
    }
    if ((revents[this.queues.length + 1] ?? 0) !== 0) {
      // Nothing may come here unasked, so this is the end: receive says so.
      this.frontend.socket.receive(0)
    }
    return true
  }

  /** Waits until `condition` holds. */
  waitFor(condition: () => boolean, what: string, timeoutMs = REQUEST_TIMEOUT_MS): void {
    const deadline = Date.now() + timeoutMs
    while (!condition()) {
      if (!this.pump(100)) {
        this.onIdle?.()
        if (Date.now() > deadline) {
          throw new Error(`${what}: nothing after ${timeoutMs} ms`)
        }
      }
    }
  }

  wait(request: PendingRequest): Uint8Array {
    this.waitFor(() => request.done, `opcode ${request.opcode}`)
    return request.result()
  }

  /** Sends a request and waits for its reply. */
  call(opcode: number, nodeid: bigint, args?: Uint8Array, options?: RequestOptions): Uint8Array {
    return this.wait(this.submit(opcode, nodeid, args, options))
  }

  /** Forgets requests that a reset has taken away. */
  abandon(): void {
    for (const pending of this.#pending.values()) {
      pending.clear()
    }
  }
}

function pagesOf(data: Uint8Array): Uint8Array[] {
  const pages: Uint8Array[] = []
  for (let offset = 0; offset < data.length; offset += PAGE) {
    pages.push(data.subarray(offset, offset + PAGE))
  }
  return pages
}
