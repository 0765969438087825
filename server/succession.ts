// SPDX-License-Identifier: Apache-2.0
/**
 * What a server takes over from the one before it, which a signal has ended, and leaves to the next. ARCHITECTURE.md, "When the
 * process ends", has the order.
 */
import { constants } from 'node:os'
import { type DeviceControl, type FrontendState, servers } from '../native/index.ts'
import type { Status } from './control/status.ts'
import { FuseSession } from './fuse/session.ts'
import type { LaunchedServer } from './sandbox/launch.ts'
import type { MessageKeeper } from './vhost-user/connection.ts'

export type LeftFrontend = NonNullable<ReturnType<DeviceControl['restore']>>

/** How long requests may take that are under way when another program is to go on. */
const DRAIN_MS = 1000

export class Succession {
  readonly #server: LaunchedServer

  /** First of all, before the sandbox's doors. @throws where the state is of another version */
  constructor(server: LaunchedServer, queueCount: number) {
    this.#server = server
    servers.open(server.state, queueCount)
    servers.startKeeper(server.keeper)
  }

  get succeeds(): boolean {
    return this.#server.predecessor >= 0
  }

  /** Behind the doors: who has written what is read here may have been taken over by a guest. @returns for createSharedDirectory */
  take(): [tables: number, keeper: number] | undefined {
    const tables = servers.take(this.#server.predecessor)
    return tables < 0 ? undefined : [tables, this.#server.predecessor]
  }

  /** All that this server opens by itself at its start is open. */
  reserve(): void {
    servers.reserveOwnNumbers()
  }

  /**
   * Server after server crashes: what else could be the matter, nobody knows, and nothing is to be made worse. Mappings stay as they are.
   */
  get refuses(): boolean {
    return this.#server.refuses
  }

  /** Once the tables are taken over. @returns undefined where there was no frontend */
  restore(device: DeviceControl, directory: number, session: SharedArrayBuffer): LeftFrontend | undefined {
    const frontend = device.restore(this.#server.signal !== constants.signals.SIGKILL)
    if (this.refuses) device.refuse()
    if (frontend !== undefined) {
      const words = servers.restoreSession(directory)
      if (words !== undefined) new FuseSession(session).restore(words)
    }
    return frontend
  }

  /** Serves from here on: nothing more is needed of the predecessor. */
  serving(): void {
    servers.sayTaken(this.#server.keeper, this.#server.predecessor)
  }

  /** The program that is installed now shall go on, if it can; the answer is SIGHUP. */
  askForUpgrade(): void {
    servers.askForUpgrade(this.#server.keeper)
  }

  /**
   * Gives way to the next server: takes no more requests, and ends once those that have been taken are carried out, or after a
   * while; what is left then is repeated.
   */
  handOver(device: DeviceControl): void {
    device.pause()
    const deadline = performance.now() + DRAIN_MS
    const look = (): void => {
      if (device.requestsInProgress().length === 0 || performance.now() > deadline) servers.endForSuccessor()
      setTimeout(look, 1)
    }
    look()
  }

  /** @param state what is to be put down besides the end of the replies */
  messageKeeper(device: DeviceControl, state: () => Omit<FrontendState, 'repliesEnd'>, repliesEnd = 0): MessageKeeper {
    let end = repliesEnd
    const record = (): void => {
      const { connection, protocolFeatures, lastQueue, windowPossible, windowActive } = state()
      device.record(connection, protocolFeatures, lastQueue, windowPossible, windowActive, end)
    }
    return {
      served: (reply) => {
        if (reply !== undefined) end = servers.stageReply(reply)
        record()
      },
      send: (connection) => servers.sendReplies(connection),
      resume: (connection) => servers.resumeReplies(connection, end),
    }
  }

  /** There is no frontend any more. */
  forgetFrontend(device: DeviceControl): void {
    device.record(-1, 0n, 0, false, false, 0)
  }

  /** Seconds since the first server was started, when this one was. */
  get age(): number {
    return this.#server.age
  }

  /** As of now, for whoever asks. */
  get history(): NonNullable<Status['servers']> {
    const { predecessors, signal, upgrade, crashes } = this.#server
    const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? String(signal)
    const last = { cause: upgrade ? 'upgrade' : name, secondsAgo: Math.floor(process.uptime()) }
    return { restarts: predecessors, last: predecessors === 0 ? null : last, crashes, refusing: this.refuses }
  }

  /** Of the predecessor, for the log. */
  get end(): { readonly signal: number; readonly crashes: number; readonly upgrade: boolean } {
    const { signal, crashes, upgrade } = this.#server
    return { signal, crashes, upgrade }
  }
}
