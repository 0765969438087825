// SPDX-License-Identifier: Apache-2.0
/** From a line of the JSON log to a message of the system log (syslog(3)). */

export interface SystemLogEntry {
  /** LOG_CRIT (2) to LOG_DEBUG (7). */
  readonly priority: number
  readonly message: string
}

/** What the system log adds by itself. */
const ADDED_BY_SYSLOG = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg'])

/** @param level pino's @returns the system log's */
export function priorityOf(level: unknown): number {
  if (typeof level !== 'number' || level >= 60) return 2
  if (level >= 50) return 3
  if (level >= 40) return 4
  return level >= 30 ? 6 : 7
}

/** The message first, then what else the line says, as JSON. */
export function systemLogEntry(line: string): SystemLogEntry {
  const fields: unknown = JSON.parse(line)
  if (typeof fields !== 'object' || fields === null) return { priority: 2, message: line.trim() }
  const entries = Object.entries(fields)
  const text = entries.find(([name]) => name === 'msg')?.[1]
  const rest = entries.filter(([name]) => !ADDED_BY_SYSLOG.has(name))
  const parts = [
    ...(typeof text === 'string' ? [text] : []),
    ...(rest.length === 0 ? [] : [JSON.stringify(Object.fromEntries(rest))]),
  ]
  return { priority: priorityOf(entries.find(([name]) => name === 'level')?.[1]), message: parts.join(' ') }
}
