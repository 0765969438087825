// SPDX-License-Identifier: Apache-2.0
/** The log, from every thread: JSON lines on standard error, readable ones where that is a terminal, or messages of the system log. */
import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import { openSystemLog, writeSystemLog } from '../native/index.ts'
import type { LogLevel, Options } from './options.ts'
import { readableLine } from './readable-log.ts'
import { systemLogEntry } from './system-log.ts'

export type { Logger }

/** Where lines go: the system log, which the main thread has opened (`openLog`), or standard error in a form for programs or people. */
export type LogForm = 'syslog' | 'json' | 'readable' | 'coloured'

export interface LogOptions {
  readonly logLevel: LogLevel
  readonly form: LogForm
}

const systemLog: DestinationStream = {
  write(line) {
    const { priority, message } = systemLogEntry(line)
    writeSystemLog(priority, message)
  },
}

/** Once per process, before `createLogger`. */
export function openLog({ logLevel, syslog }: Pick<Options, 'logLevel' | 'syslog'>): LogOptions {
  if (syslog) openSystemLog('viewfsd')
  const { NO_COLOR = '', TERM } = process.env
  const colours = NO_COLOR === '' && TERM !== 'dumb'
  return { logLevel, form: syslog ? 'syslog' : !isatty(2) ? 'json' : colours ? 'coloured' : 'readable' }
}

/** Writes synchronously: the last words of a process that is about to end must not be lost. */
export function createLogger({ logLevel, form }: LogOptions): Logger {
  return pino({ name: 'viewfsd', level: pinoLevel(logLevel) }, destination(form))
}

/** pino's name of a level. */
export function pinoLevel(logLevel: LogLevel): string {
  return logLevel === 'off' ? 'silent' : logLevel
}

function destination(form: LogForm): DestinationStream {
  if (form === 'syslog') return systemLog
  const standardError = pino.destination({ fd: 2, sync: true })
  if (form === 'json') return standardError
  return { write: (line) => void standardError.write(readableLine(line, form === 'coloured')) }
}
