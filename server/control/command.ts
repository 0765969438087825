// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket's language: a line of JSON asks, a line of JSON answers.
 *
 *   {"command":"status"}                        {"ok":true,"result":{...}}
 *   {"command":"log-level","level":"debug"}     {"ok":false,"error":"..."}
 *   {"command":"forget","path":"/backup"}        from the shared directory on
 */
import { LOG_LEVELS, type LogLevel } from '../options/table.ts'

/** Commands that take nothing. */
export const PLAIN_COMMANDS = [
  'status',
  'requests',
  'counters',
  'latencies',
  'files',
  'metrics',
  'upgrade',
  'dump',
] as const
export type PlainCommand = (typeof PLAIN_COMMANDS)[number]

export type Command =
  | { readonly command: PlainCommand }
  | { readonly command: 'log-level'; readonly level: LogLevel }
  | { readonly command: 'forget'; readonly path: string }

/** A line that is no command; the message goes to whoever has sent it. */
export class ControlError extends Error {
  override readonly name = 'ControlError'
}

/** @throws ControlError */
export function decodeCommand(line: string): Command {
  const request = parse(line)
  const { command, ...rest } = request
  const names = Object.keys(rest)
  const plain = PLAIN_COMMANDS.find((name) => name === command)
  if (plain !== undefined) {
    if (names.length > 0) throw new ControlError(`${plain} takes nothing`)
    return { command: plain }
  }
  if (command === 'forget') return { command, path: pathOf(rest) }
  if (command !== 'log-level') {
    throw new ControlError(`the command must be one of ${[...PLAIN_COMMANDS, 'log-level', 'forget'].join(', ')}`)
  }
  const level = LOG_LEVELS.find((name) => name === rest['level'])
  if (level === undefined || names.length !== 1) {
    throw new ControlError(`log-level takes a level: ${LOG_LEVELS.join(', ')}`)
  }
  return { command, level }
}

function pathOf(rest: Readonly<Record<string, unknown>>): string {
  const { path, ...others } = rest
  if (typeof path !== 'string' || path.includes('\0') || Object.keys(others).length > 0) {
    throw new ControlError('forget takes a path')
  }
  return path
}

function parse(line: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new ControlError('not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ControlError('not an object')
  return Object.fromEntries(Object.entries(value))
}

export type Reply = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly error: string }

/** One line, with its newline. */
export function encodeReply(reply: Reply): string {
  return `${JSON.stringify(reply)}\n`
}
