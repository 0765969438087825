// SPDX-License-Identifier: Apache-2.0
/** Everything that a test needs at once: daemon, frontend, guest memory, queues and a FUSE client. */
import { onTestFinished } from 'vitest'
import { Daemon, type DaemonOptions, makeScratch, removeScratch } from './daemon.ts'
import { type DeviceKind, Frontend } from './frontend.ts'
import { FuseClient, GUEST_INIT_FLAGS } from './fuse-client.ts'
import { type Attr, type InitReply } from './fuse-abi.ts'
import { FuseError, FuseTransport } from './fuse-transport.ts'
import { GuestMemory } from './guest-memory.ts'
import { Feature } from './vhost-user.ts'
import { VirtqueueDriver } from './virtqueue-driver.ts'

/** What differs from the usual session. */
export interface SessionOptions extends DaemonOptions {
  readonly device?: DeviceKind
  readonly protocolFeatures?: bigint
  readonly features?: bigint
  /** Queues with the hiprio queue; 2 if not given. */
  readonly queues?: number
  readonly queueSize?: number
  readonly memory?: readonly { gpa: number; sizeBytes: number }[]
  /** Guest RAM of the test's own making, instead of `memory`. Closed when the test ends. */
  readonly guestMemory?: GuestMemory
  /** Don't send INIT. */
  readonly noInit?: boolean
  readonly initFlags?: bigint
}

/** A started device. */
export interface Session extends Device {
  readonly daemon: Daemon
}

/** The same, whoever serves it. */
export interface Device {
  readonly frontend: Frontend
  readonly memory: GuestMemory
  readonly queues: VirtqueueDriver[]
  /** Queue 0. */
  readonly hiprio: VirtqueueDriver
  readonly transport: FuseTransport
  readonly client: FuseClient
  /** Undefined with `noInit`. */
  readonly initReply: InitReply | undefined
}

/** A daemon that is stopped and whose files are removed when the test ends, whichever way it does. */
export function startDaemon(options: DaemonOptions = {}): Daemon {
  const directory = makeScratch()
  const daemon = new Daemon(directory, options)
  onTestFinished(async ({ task }) => {
    await daemon.kill()
    if (task.result?.state === 'fail') {
      console.error(`log of the daemon:\n${daemon.log.slice(-4000)}`)
    }
    removeScratch(directory)
  })
  return daemon
}

/** Connects a frontend to a daemon and realizes the device. */
export async function connectFrontend(daemon: Daemon, options: SessionOptions = {}): Promise<Frontend> {
  const frontend = new Frontend(await daemon.connect(), options)
  onTestFinished(() => frontend.close())
  frontend.realize(options.queues)
  return frontend
}

/** A device with its driver on a realized frontend, started; then INIT. */
export function startDevice(daemon: Daemon, frontend: Frontend, options: SessionOptions = {}): Session {
  const onIdle = (): void => {
    if (!daemon.alive) {
      throw new Error(`the daemon is gone\n${daemon.log.slice(-2000)}`)
    }
  }
  return { daemon, ...driveDevice(frontend, onIdle, options) }
}

/** @param onIdle called while an answer is waited for; may throw */
export function driveDevice(frontend: Frontend, onIdle: () => void, options: SessionOptions = {}): Device {
  const memory = options.guestMemory ?? new GuestMemory(options.memory)
  onTestFinished(() => memory.close())
  const features = frontend.negotiable()
  const queues: VirtqueueDriver[] = []
  for (let index = 0; index < (options.queues ?? 2); index++) {
    const queue = new VirtqueueDriver(memory, index, options.queueSize ?? 128, {
      eventIdx: (features & Feature.RING_EVENT_IDX) !== 0n,
      indirect: (features & Feature.RING_INDIRECT_DESC) !== 0n,
    })
    onTestFinished(() => queue.close())
    queues.push(queue)
  }
  const transport = new FuseTransport(frontend, memory, queues)
  const hiprio = queues[0] ?? transport.requestQueue
  transport.onIdle = onIdle
  const client = new FuseClient(transport)
  frontend.start(memory, queues)
  const initReply = options.noInit === true ? undefined : client.init(options.initFlags ?? GUEST_INIT_FLAGS)
  return { frontend, memory, queues, hiprio, transport, client, initReply }
}

/** Daemon, frontend, device, INIT. */
export async function startSession(options: SessionOptions = {}): Promise<Session> {
  const daemon = startDaemon(options)
  const frontend = await connectFrontend(daemon, options)
  return startDevice(daemon, frontend, options)
}

/** Runs `operation`; @returns the FUSE error's name, `ok` if there was none */
export function outcome(operation: () => unknown): string {
  try {
    operation()
    return 'ok'
  } catch (error) {
    if (error instanceof FuseError) {
      return error.code
    }
    throw error
  }
}

/** File type and permission bits. */
export function permissions(attr: Attr): number {
  return attr.mode & 0o7777
}
