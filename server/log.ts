// SPDX-License-Identifier: Apache-2.0
/**
 * The log, from every thread: JSON lines on standard error, readable ones where that is a terminal, entries of systemd's journal, or
 * messages of the system log. Each line has its event's id (log/events.ts).
 */
import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import { connectDatagram, openSystemLog, sendWithFds, writeSystemLog } from '../native/index.ts'
import { JOURNAL_SOCKET, journalEntry, journalListens } from './log/journal.ts'
import type { Options } from './options.ts'
import { LOG_LEVELS, type LogLevel } from './options/table.ts'
import { readableLine } from './readable-log.ts'
import { systemLogEntry } from './system-log.ts'

export type { Logger }

/** Where lines go: the system log, which the main thread has opened (`openLog`), or standard error in a form for programs or people. */
export type LogForm = 'syslog' | 'json' | 'readable' | 'coloured' | { readonly journal: number }

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
  const level = LogLevelCell.allocate(logLevel)
  const { NO_COLOR = '', TERM, JOURNAL_STREAM } = process.env
  // Behind the sandbox's doors it can't be reached any more, and standard error has no fields.
  const journal = journalListens(JOURNAL_STREAM) ? connectDatagram(JOURNAL_SOCKET) : -1
  if (journal >= 0) return { level, form: { journal } }
  if (syslog) openSystemLog('viewfsd')
  const colours = NO_COLOR === '' && TERM !== 'dumb'
  return {
    level,
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
  // Of a journal that is too busy or has gone, as of a system log, nothing is said: there is nobody to say it to.
  if (typeof form === 'object') return { write: (line) => void sendWithFds(form.journal, journalEntry(line), []) }
  const standardError = pino.destination({ fd: 2, sync: true })
  if (form === 'json') return standardError
  return { write: (line) => void standardError.write(readableLine(line, form === 'coloured')) }
}
