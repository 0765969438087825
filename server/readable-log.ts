// SPDX-License-Identifier: Apache-2.0
/** From a line of the JSON log to one that people read in a terminal. */

const LEVELS: readonly (readonly [from: number, name: string, colour: number])[] = [
  [60, 'FATAL', 31],
  [50, 'ERROR', 31],
  [40, 'WARN', 33],
  [30, 'INFO', 32],
  [0, 'DEBUG', 34],
]
/** What has a place of its own, or says nothing to whoever sits before the terminal. */
const NOT_REPEATED = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg', 'err', 'event'])

/**
 * @param line one object of pino's, ending with a newline or not
 * @param colours whether the level is coloured
 * @returns time (UTC, as /etc/localtime may be the guest's), level, message, and what else there is as name=value; ends with a newline
 */
export function readableLine(line: string, colours: boolean): string {
  const record: unknown = JSON.parse(line)
  if (typeof record !== 'object' || record === null) return `${printable(line.trim())}\n`
  const fields = new Map<string, unknown>(Object.entries(record))
  const level = Number(fields.get('level'))
  const [, name, colour] = LEVELS.find(([from]) => level >= from) ?? [0, 'DEBUG', 34]
  const shown = name.padEnd(5)
  const words = [
    new Date(Number(fields.get('time'))).toISOString().slice(11),
    colours ? `\u001b[${colour}m${shown}\u001b[0m` : shown,
    printable(text(fields.get('msg') ?? '')),
  ]
  for (const [key, value] of fields) if (!NOT_REPEATED.has(key)) words.push(printable(`${key}=${text(value)}`))
  return `${words.join(' ')}\n${details(fields.get('err'), fields.get('msg'))}`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** The stack of an error that the message does not already say. */
function details(error: unknown, message: unknown): string {
  if (typeof error !== 'object' || error === null || !('message' in error) || error.message === message) return ''
  const lines = String('stack' in error ? error.stack : error.message).split('\n')
  return lines.map((each) => `    ${printable(each)}\n`).join('')
}

/** Names of the guest's files must not move the terminal's cursor. */
function printable(value: string): string {
  // oxlint-disable-next-line no-control-regex -- those are meant
  return value.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
