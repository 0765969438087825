// SPDX-License-Identifier: Apache-2.0
/** A frontend's end of the backend channel and the memory table, for tests of windows without a guest. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import { DeviceControl, receiveWithFds, sendWithFds, socketPair } from '../index.ts'

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

/** The frontend's end of everything: channel, memory table, and a queue thread that calls the mapper. */
export class Frontend {
  readonly control = new DeviceControl(2)
  readonly files: number[] = []
  readonly #thread: Worker
  #channel = -1
  #results: ((result: number) => void)[] = []

  constructor() {
    this.connect()
    this.#thread = new Worker(
      `const { createRequire } = require('node:module')
       const { parentPort } = require('node:worker_threads')
       const { deviceWindow } = createRequire(${JSON.stringify(INDEX)})('#native-addon')
       parentPort.on('message', ([name, ...args]) => parentPort.postMessage(deviceWindow[name](...args) ?? 0))`,
      { eval: true },
    )
    this.#thread.on('message', (result: number) => this.#results.shift()?.(result))
    onTestFinished(async () => {
      this.control.shutdown()
      await this.#thread.terminate()
      this.control.destroy()
      for (const fd of [this.#channel, ...this.files]) closeSync(fd)
    })
  }

  connect(): void {
    const [ours, theirs] = socketPair()
    if (this.#channel >= 0) closeSync(this.#channel)
    this.#channel = ours
    this.control.setBackendSocket(theirs)
  }

  /** A file of `bytes`. */
  file(bytes: number): number {
    const directory = mkdtempSync(join(tmpdir(), 'viewfsd-shmem-'))
    const fd = openSync(join(directory, 'file'), 'w+')
    ftruncateSync(fd, bytes)
    rmSync(directory, { recursive: true })
    this.files.push(fd)
    return fd
  }

  #call(name: string, ...args: readonly (number | boolean)[]): Promise<number> {
    const result = new Promise<number>((done) => this.#results.push(done))
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    this.#thread.postMessage([name, this.control.id, ...args])
    return result
  }

  map(moffset: number, fd: number, foffset = 0, writable = false, mayWrite = true): Promise<number> {
    return this.#call('shmemMap', moffset, RANGE, fd, foffset, writable, mayWrite)
  }

  unmap(moffset: number, length = RANGE): Promise<number> {
    return this.#call('shmemUnmap', moffset, length)
  }

  /** Makes a file visible as the whole window. */
  startView(fd: number, sizeBytes: number, timeoutMs = 10_000): Promise<number> {
    return this.#call('startViewWindow', fd, sizeBytes, timeoutMs)
  }

  reset(): Promise<number> {
    return this.#call('shmemReset')
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
    this.files.push(...fds)
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
export async function pending(promise: Promise<number>): Promise<boolean> {
  const timeout = new Promise<string>((done) => setTimeout(() => done('pending'), 100))
  return (await Promise.race([promise, timeout])) === 'pending'
}
