// SPDX-License-Identifier: Apache-2.0
/** Serves the control socket from the main thread. Queue threads know nothing of it, so that no command can hold up a queue. */
import { closeSync } from 'node:fs'
import { acceptUnix, FdWatcher } from '../../native/index.ts'
import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { LogLevel } from '../options/table.ts'
import { type Command, ControlError, decodeCommand, encodeReply, type PlainCommand } from './command.ts'
import { ControlConnection } from './control-connection.ts'
import type { FilesReport } from './files.ts'
import type { Latencies } from './latencies.ts'
import { openMetrics } from './open-metrics.ts'
import type { ActiveRequest, Status } from './status.ts'

/** Peers at a time; others are turned away. */
export const MAX_PEERS = 8

/** What can be asked. Nothing of it makes a queue or the main thread wait. */
export interface ControlSubject {
  status(): Status
  requests(): readonly ActiveRequest[]
  counters(): Metrics
  latencies(): readonly Latencies[]
  files(): Promise<FilesReport>
  setLogLevel(level: LogLevel): void
}

export class ControlServer {
  readonly #subject: ControlSubject
  readonly #log: Pick<Logger, 'error'>
  readonly #peers = new Set<ControlConnection>()
  readonly #listener: number
  readonly #watcher: FdWatcher

  /** @param listener a socket that listens, owned by this object */
  constructor(listener: number, subject: ControlSubject, log: Pick<Logger, 'error'>) {
    this.#listener = listener
    this.#subject = subject
    this.#log = log
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
    const peer: ControlConnection = new ControlConnection(
      fd,
      (line) => this.#answer(line),
      () => this.#peers.delete(peer),
    )
    this.#peers.add(peer)
  }

  async #answer(line: string): Promise<string> {
    try {
      return encodeReply({ ok: true, result: await this.#result(decodeCommand(line)) })
    } catch (error) {
      if (error instanceof ControlError) return encodeReply({ ok: false, error: error.message })
      this.#log.error({ err: error }, 'a command of the control socket failed')
      return encodeReply({ ok: false, error: 'an error of viewfsd, which its log has' })
    }
  }

  #result(request: Command): unknown {
    const subject = this.#subject
    if (request.command === 'log-level') {
      subject.setLogLevel(request.level)
      return { level: request.level }
    }
    const answers: Readonly<Record<PlainCommand, () => unknown>> = {
      status: () => subject.status(),
      requests: () => subject.requests(),
      counters: () => subject.counters(),
      latencies: () => subject.latencies(),
      files: () => subject.files(),
      metrics: () => metricsText(subject),
      dump: async () => ({
        status: subject.status(),
        requests: subject.requests(),
        counters: subject.counters(),
        latencies: subject.latencies(),
        files: await subject.files(),
      }),
    }
    return answers[request.command]()
  }
}

export function metricsText(subject: Pick<ControlSubject, 'counters' | 'status' | 'latencies'>): string {
  return openMetrics(subject.counters(), subject.status(), subject.latencies())
}
