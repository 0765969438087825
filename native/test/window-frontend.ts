// SPDX-License-Identifier: Apache-2.0
/** A frontend's end of the backend channel and the memory table, for tests of windows without a guest. */
import { closeSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import { decodeEntry, requests } from '../../server/fuse/testing/messages.ts'
import { DeviceControl, deviceWindow, fileSystem, receiveWithFds, sendWithFds } from '../index.ts'
import { MessageServer, testing } from '../testing/index.ts'
import { publishDefaultPolicy } from './testing/policy.ts'

const INDEX = resolve(import.meta.dirname, '../index.ts')
export const RANGE = 2 << 20
export const WINDOW_GPA = 0x80_0000_0000n
export const MAP = 9
export const UNMAP = 10

export interface Request {
  readonly request: number
  readonly fdOffset: number
  readonly moffset: number
  readonly length: number
  readonly writable: boolean
  readonly fds: number[]
}

/** What a request that the frontend has not answered ends with when a queue is to be stopped: it is served again later. */
export const LATER = 'later'
/** 0, an error (negative), or LATER. */
export type Outcome = number | typeof LATER

const ROOT = 1
const WINDOW_SIZE = 16 * RANGE
/** Of native/testing/message-server.ts. */
const SERVED_LATER = -2

/**
 * The frontend's end of everything: channel and memory table. Its guest's requests are served, and the window is started, on a
 * thread that may wait.
 */
export class Frontend {
  readonly control = new DeviceControl(2)
  /** Of the shared directory. */
  readonly path = mkdtempSync(join(tmpdir(), 'viewfsd-shmem-'))
  readonly #directory = fileSystem.createSharedDirectory(this.path, 1, 1, 0, 100)
  readonly #fds: number[] = []
  readonly #thread: Worker
  #channel = -1
  #files = 0
  #results: ((result: Outcome) => void)[] = []

  constructor(readOnly = false) {
    this.connect()
    deviceWindow.attachShmem(this.control.id, this.#directory)
    publishDefaultPolicy(this.#directory, WINDOW_SIZE, readOnly)
    this.#thread = new Worker(
      `const { createRequire } = require('node:module')
       const { parentPort, workerData } = require('node:worker_threads')
       const { deviceWindow, MessageServer } = createRequire(${JSON.stringify(INDEX)})('#native-addon')
       const guest = new MessageServer(workerData)
       const reply = Buffer.alloc(16)
       const calls = {
         ...deviceWindow,
         serve: (message) => {
           const size = guest.serve(message, reply)
           return size === ${SERVED_LATER} ? '${LATER}' : reply.readInt32LE(4)
         },
       }
       parentPort.on('message', ([name, ...args]) => parentPort.postMessage(calls[name](...args) ?? 0))`,
      { eval: true, workerData: this.#directory },
    )
    this.#thread.on('message', (result: Outcome) => this.#results.shift()?.(result))
    onTestFinished(async () => {
      this.control.destroy()
      await this.#thread.terminate()
      fileSystem.reset(this.#directory)
      for (const fd of [this.#channel, ...this.#fds]) closeSync(fd)
      rmSync(this.path, { recursive: true })
    })
  }

  connect(): void {
    const [ours, theirs] = testing.socketPair()
    if (this.#channel >= 0) closeSync(this.#channel)
    this.#channel = ours
    this.control.setBackendSocket(theirs)
  }

  /** A file of `bytes`, as its nodeid. */
  file(bytes: number): number {
    const name = `file-${this.#files++}`
    writeFileSync(join(this.path, name), '')
    truncateSync(join(this.path, name), bytes)
    return this.lookup(name)
  }

  /** The nodeid of what is in the shared directory. */
  lookup(name: string): number {
    const reply = Buffer.alloc(256)
    new MessageServer(this.#directory).serve(requests.lookup(ROOT, name), reply)
    return decodeEntry(reply, 16).nodeid
  }

  #call(name: string, ...args: readonly (number | Uint8Array)[]): Promise<Outcome> {
    const result = new Promise<Outcome>((done) => this.#results.push(done))
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    this.#thread.postMessage([name, ...args])
    return result
  }

  /** SETUPMAPPING */
  map(moffset: number, nodeid: number, foffset = 0, writable = false): Promise<Outcome> {
    return this.#call('serve', requests.setupmapping(nodeid, foffset, RANGE, moffset, writable ? 3 : 2))
  }

  /** REMOVEMAPPING */
  unmap(moffset: number, length = RANGE): Promise<Outcome> {
    return this.#call('serve', requests.removemapping([[moffset, length]]))
  }

  /** Makes a file visible as the whole window. */
  startView(fd: number, sizeBytes: number, timeoutMs = 10_000): Promise<Outcome> {
    return this.#call('startViewWindow', this.control.id, fd, sizeBytes, timeoutMs)
  }

  /** As INIT and the end of a session do. */
  reset(): Promise<Outcome> {
    return this.#call('shmemReset', this.control.id)
  }

  /** The next request of the backend. */
  async request(): Promise<Request> {
    const bytes = new Uint8Array(52)
    const fds: number[] = []
    for (;;) {
      const got = receiveWithFds(this.#channel, bytes, 0, 52, fds)
      if (got === 52) break
      if (got >= 0) throw new Error(`${got} bytes`)
      await new Promise((done) => setTimeout(done, 1))
    }
    this.#fds.push(...fds)
    const view = new DataView(bytes.buffer)
    // Version 1 with need_reply, and a payload of 40 bytes.
    if (view.getUint32(4, true) !== 9 || view.getUint32(8, true) !== 40) throw new Error('a wrong header')
    return {
      request: view.getUint32(0, true),
      fdOffset: Number(view.getBigUint64(20, true)),
      moffset: Number(view.getBigUint64(28, true)),
      length: Number(view.getBigUint64(36, true)),
      writable: view.getBigUint64(44, true) === 1n,
      fds,
    }
  }

  get silent(): boolean {
    return receiveWithFds(this.#channel, new Uint8Array(1), 0, 1, []) < 0
  }

  reply(request: number, value: number, flags = 5): void {
    const bytes = new Uint8Array(20)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, request, true)
    view.setUint32(4, flags, true)
    view.setUint32(8, 8, true)
    view.setBigUint64(12, BigInt(value), true)
    sendWithFds(this.#channel, bytes, [])
  }

  /** Lists a mapping in the memory table, as QEMU does after its reply. */
  commit(request: Request, base = WINDOW_GPA): void {
    const gpa = base + BigInt(request.moffset)
    const region = BigUint64Array.of(gpa, BigInt(request.length), gpa + 0x7000_0000_0000n, BigInt(request.fdOffset))
    this.control.addRegion(region, request.fds[0] ?? -1)
  }

  /** Answers a map as QEMU does. */
  async accept(): Promise<Request> {
    const request = await this.request()
    this.reply(request.request, 0)
    if (request.request === MAP) this.commit(request)
    return request
  }
}

/** Whether a promise is still pending after a while. */
export async function pending(promise: Promise<Outcome>): Promise<boolean> {
  const timeout = new Promise<string>((done) => setTimeout(() => done('pending'), 100))
  return (await Promise.race([promise, timeout])) === 'pending'
}
