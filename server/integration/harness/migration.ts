// SPDX-License-Identifier: Apache-2.0
/** What a frontend does to move a guest from one daemon to another: the log of what is written, the device's state, the rings. */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { testing } from '../../../native/testing/index.ts'
import type { Daemon } from './daemon.ts'
import { Frontend } from './frontend.ts'
import { FuseClient } from './fuse-client.ts'
import { FuseTransport } from './fuse-transport.ts'
import type { Device, Session, SessionOptions } from './session.ts'
import { Feature, packU64, Request } from './vhost-user.ts'
import { pack, Unpacker } from './wire.ts'

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants
const PAGE = 4096

/** A pipe, as QEMU makes it. @param directory where it has a name for a moment */
function makePipe(directory: string): { reader: number; writer: number } {
  const name = join(directory, 'pipe')
  execFileSync('mkfifo', [name])
  const both = openSync(name, O_RDWR | O_NONBLOCK)
  const pipe = { reader: openSync(name, O_RDONLY), writer: openSync(name, O_WRONLY) }
  closeSync(both)
  rmSync(name)
  return pipe
}

function transferParameters(load: boolean): Uint8Array {
  return pack(['u32', load ? 1 : 0], ['u32', 0])
}

/** The end of a transfer. @returns whether it has succeeded */
export function checkState(frontend: Frontend): boolean {
  return frontend.askU64(Request.CHECK_DEVICE_STATE) === 0n
}

/** @returns the state, or undefined where the daemon can't or won't */
export function saveState({ frontend, daemon }: Pick<Session, 'frontend' | 'daemon'>): Buffer | undefined {
  const { reader, writer } = makePipe(daemon.directory)
  const reply = new Unpacker(frontend.ask(Request.SET_DEVICE_STATE_FD, transferParameters(false), [writer]).payload)
  closeSync(writer)
  const parts: Buffer[] = []
  try {
    if (reply.u64() !== 0x100n) return undefined
    for (;;) {
      const part = Buffer.alloc(PAGE)
      const length = readSync(reader, part)
      if (length === 0) break
      parts.push(part.subarray(0, length))
    }
  } finally {
    closeSync(reader)
  }
  return checkState(frontend) ? Buffer.concat(parts) : undefined
}

/** @returns whether the daemon has taken it */
export function loadState(frontend: Frontend, daemon: Daemon, state: Uint8Array): boolean {
  const { reader, writer } = makePipe(daemon.directory)
  const reply = new Unpacker(frontend.ask(Request.SET_DEVICE_STATE_FD, transferParameters(true), [reader]).payload)
  closeSync(reader)
  try {
    if (reply.u64() !== 0x100n) return false
    for (let at = 0; at < state.length; ) at += writeSync(writer, state, at)
  } finally {
    closeSync(writer)
  }
  return checkState(frontend)
}

/** A device that is stopped, and where its rings stand. */
export interface Stopped {
  readonly session: Session
  readonly bases: readonly number[]
}

export function stopDevice(session: Session): Stopped {
  return { session, bases: session.frontend.stop() }
}

/** Connects a frontend to `daemon` for the same guest. */
export async function connectAgain(daemon: Daemon, options: SessionOptions = {}): Promise<Frontend> {
  const frontend = new Frontend(await daemon.connect(), options)
  onTestFinished(() => frontend.close())
  frontend.realize(options.queues)
  return frontend
}

/** The guest goes on, with its memory and its rings, at another daemon. */
export function continueDevice({ session, bases }: Stopped, frontend: Frontend, daemon: Daemon): Session {
  const { memory, queues, hiprio, initReply } = session
  frontend.start(memory, queues, frontend.negotiable(), bases)
  const transport = new FuseTransport(frontend, memory, queues)
  transport.onIdle = () => {
    if (!daemon.alive) throw new Error(`the daemon is gone\n${daemon.log.slice(-2000)}`)
  }
  const device: Device = { frontend, memory, queues, hiprio, transport, client: new FuseClient(transport), initReply }
  return { daemon, ...device }
}

/** Stops the device, moves its state to `daemon` and goes on there. */
export async function migrate(session: Session, daemon: Daemon, options: SessionOptions = {}): Promise<Session> {
  const stopped = stopDevice(session)
  const state = saveState(session)
  if (state === undefined) throw new Error(`the state was not saved\n${session.daemon.log}`)
  const frontend = await connectAgain(daemon, options)
  if (!loadState(frontend, daemon, state)) throw new Error(`the state was not loaded\n${daemon.log}`)
  return continueDevice(stopped, frontend, daemon)
}

/** The log of a frontend that migrates its guest. */
export class DirtyLog {
  readonly fd: number
  readonly sizeBytes: number
  readonly #memory: ArrayBuffer
  readonly #bits: Uint8Array

  /** @param sizeBytes of the log: a bit for each 4 KiB of the guest's memory */
  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes
    this.fd = testing.memfdCreate('dirty-log', sizeBytes)
    this.#memory = testing.map(this.fd, 0, sizeBytes, true)
    this.#bits = new Uint8Array(this.#memory)
  }

  /** Takes the pages that are marked, in order. */
  take(): number[] {
    const pages: number[] = []
    for (const [at, byte] of this.#bits.entries()) {
      for (let bit = 0; bit < 8; bit++) if (((byte >> bit) & 1) !== 0) pages.push(at * 8 + bit)
      this.#bits[at] = 0
    }
    return pages
  }

  close(): void {
    testing.unmap(this.#memory)
    closeSync(this.fd)
  }
}

/** As QEMU does it: the log first, then the feature. @returns what SET_LOG_BASE answers */
export function startLogging(session: Session, log: DirtyLog): bigint {
  const { frontend } = session
  const answer = setLogBase(frontend, log)
  setLogging(frontend, true)
  return answer
}

export function setLogBase(frontend: Frontend, log: DirtyLog, sizeBytes = log.sizeBytes): bigint {
  const reply = frontend.ask(Request.SET_LOG_BASE, pack(['u64', sizeBytes], ['u64', 0]), [log.fd])
  return new Unpacker(reply.payload).u64()
}

export function setLogging(frontend: Frontend, enabled: boolean): void {
  const features = frontend.features | (frontend.offeredFeatures & Feature.PROTOCOL_FEATURES)
  frontend.sendAcked(Request.SET_FEATURES, packU64(enabled ? features | Feature.LOG_ALL : features))
}
