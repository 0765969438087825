// SPDX-License-Identifier: Apache-2.0
/** The log, from every thread: JSON lines on standard error, readable ones where that is a terminal, or messages of the system log. */
import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import { openSystemLog, writeSystemLog } from '../native/index.ts'
import type { Options } from './options.ts'
import { LOG_LEVELS, type LogLevel } from './options/table.ts'
import { readableLine } from './readable-log.ts'
import { systemLogEntry } from './system-log.ts'

export type { Logger }

/** Where lines go: the system log, which the main thread has opened (`openLog`), or standard error in a form for programs or people. */
export type LogForm = 'syslog' | 'json' | 'readable' | 'coloured'

export interface LogOptions {
  /** See LogLevelCell. */
  readonly level: SharedArrayBuffer
  readonly form: LogForm
}

/** The level of all threads' logs, which the control socket may change. */
export class LogLevelCell {
  readonly #word: Int32Array

  constructor(buffer: SharedArrayBuffer) {
    this.#word = new Int32Array(buffer)
  }

  static allocate(level: LogLevel): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(4)
    new LogLevelCell(buffer).set(level)
    return buffer
  }

  get(): LogLevel {
    return LOG_LEVELS[Atomics.load(this.#word, 0)] ?? 'info'
  }

  set(level: LogLevel): void {
    Atomics.store(this.#word, 0, LOG_LEVELS.indexOf(level))
  }

  /** Brings a thread's own logger up to date. */
  apply(log: Logger): void {
    const level = pinoLevel(this.get())
    if (log.level !== level) log.level = level
  }
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
  return {
    level: LogLevelCell.allocate(logLevel),
    form: syslog ? 'syslog' : !isatty(2) ? 'json' : colours ? 'coloured' : 'readable',
  }
}

/** Writes synchronously: the last words of a process that is about to end must not be lost. */
export function createLogger({ level, form }: LogOptions): Logger {
  return pino({ name: 'viewfsd', level: pinoLevel(new LogLevelCell(level).get()) }, destination(form))
}

/** pino's name of a level. */
function pinoLevel(logLevel: LogLevel): string {
  return logLevel === 'off' ? 'silent' : logLevel
}

function destination(form: LogForm): DestinationStream {
  if (form === 'syslog') return systemLog
  const standardError = pino.destination({ fd: 2, sync: true })
  if (form === 'json') return standardError
  return { write: (line) => void standardError.write(readableLine(line, form === 'coloured')) }
}
