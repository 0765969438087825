// SPDX-License-Identifier: Apache-2.0
/** The log, from every thread: JSON lines on standard error, or messages of the system log. */
import { type DestinationStream, type Logger, pino } from 'pino'
import { openSystemLog, writeSystemLog } from '../native/index.ts'
import type { LogLevel } from './options.ts'
import { systemLogEntry } from './system-log.ts'

export type { Logger }

export interface LogOptions {
  readonly logLevel: LogLevel
  /** To the system log, which the main thread has opened (`openLog`). */
  readonly syslog: boolean
}

const systemLog: DestinationStream = {
  write(line) {
    const { priority, message } = systemLogEntry(line)
    writeSystemLog(priority, message)
  },
}

/** Once per process, before `createLogger`. */
export function openLog(options: LogOptions): void {
  if (options.syslog) openSystemLog('viewfsd')
}

/** Writes synchronously: the last words of a process that is about to end must not be lost. */
export function createLogger(options: LogOptions): Logger {
  const level = options.logLevel === 'off' ? 'silent' : options.logLevel
  return pino({ name: 'viewfsd', level }, options.syslog ? systemLog : pino.destination({ fd: 2, sync: true }))
}
