// SPDX-License-Identifier: Apache-2.0
/** What the control socket's peers are answered: a line of JSON to each line (command.ts). */
import type { ForgottenMount } from '../../native/index.ts'
import { Errno } from '../errno.ts'
import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { LogLevel } from '../options/table.ts'
import { type Command, ControlError, decodeCommand, encodeReply, type PlainCommand } from './command.ts'
import type { FilesReport } from './files.ts'
import type { Latencies } from './latencies.ts'
import { openMetrics } from './open-metrics.ts'
import { MAX_MESSAGE_BYTES, type Protocol } from './peer-connection.ts'
import type { ActiveRequest, Status } from './status.ts'

/** What can be asked. Nothing of it makes a queue or the main thread wait. */
export interface ControlSubject {
  status(): Status
  requests(): Promise<readonly ActiveRequest[]>
  counters(): Metrics
  latencies(): readonly Latencies[]
  files(): Promise<FilesReport>
  /** Lets go of the mount at `path`, from the shared directory on. @returns or -errno; see native/forget-mount.ts */
  forget(path: string): Promise<ForgottenMount | number>
  setLogLevel(level: LogLevel): void
  /** The program that is installed now shall go on, if it can. @returns false where none may: --on-crash=exit */
  upgrade(): boolean
}

const NEWLINE = 10

export function controlProtocol(subject: ControlSubject, log: Pick<Logger, 'error'>): Protocol {
  return {
    lengthOfFirst: (bytes) => {
      const end = bytes.indexOf(NEWLINE)
      return end < 0 ? undefined : end + 1
    },
    answer: async (line) => {
      try {
        return encodeReply({ ok: true, result: await resultOf(subject, decodeCommand(line)) })
      } catch (error) {
        if (error instanceof ControlError) return encodeReply({ ok: false, error: error.message })
        log.error({ event: 'control-failed', err: error }, 'a command of the control socket failed')
        return encodeReply({ ok: false, error: 'an error of viewfsd, which its log has' })
      }
    },
    tooLong: encodeReply({ ok: false, error: `a line of more than ${MAX_MESSAGE_BYTES} bytes` }),
    once: false,
  }
}

function resultOf(subject: ControlSubject, request: Command): unknown {
  if (request.command === 'forget') return forget(subject, request.path)
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
    upgrade: () => upgrade(subject),
    dump: async () => ({
      status: subject.status(),
      requests: await subject.requests(),
      counters: subject.counters(),
      latencies: subject.latencies(),
      files: await subject.files(),
    }),
  }
  return answers[request.command]()
}

function upgrade(subject: ControlSubject): Record<string, never> {
  if (!subject.upgrade())
    throw new ControlError('only a daemon with --on-crash=restart can be upgraded under its guest')
  return {}
}

async function forget(subject: ControlSubject, path: string): Promise<ForgottenMount> {
  const result = await subject.forget(path)
  if (typeof result !== 'number') return result
  const reasons: Readonly<Record<number, string>> = {
    [-Errno.ENOENT]: 'there is no such directory in the share',
    [-Errno.EINVAL]: 'nothing is mounted there',
    [-Errno.EBUSY]: 'its files are in the window, and taking them away would stop the guest: see --fault-policy',
    [-Errno.ENOTCONN]: 'the guest has just left: try again',
  }
  throw new ControlError(reasons[result] ?? `errno ${-result}`)
}

export function metricsText(subject: Pick<ControlSubject, 'counters' | 'status' | 'latencies'>): string {
  return openMetrics(subject.counters(), subject.status(), subject.latencies())
}
