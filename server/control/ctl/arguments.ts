// SPDX-License-Identifier: Apache-2.0
/** viewfsdctl's command line. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from '../../options/usage-error.ts'
import { CONTROL_SUFFIX, controlPathOf } from '../path.ts'

export const CTL_COMMANDS = [
  'status',
  'requests',
  'metrics',
  'dax',
  'top',
  'log-level',
  'forget',
  'upgrade',
  'dump',
] as const
export type CtlCommand = (typeof CTL_COMMANDS)[number]

/** Where units have their sockets. */
const RUN_DIRECTORY = '/run/viewfsd'

export const CTL_USAGE = `Usage: viewfsdctl [--socket=PATH] [--json] COMMAND

  status            the daemon, its frontend, its guest and its window
  requests          what queue threads are at work on
  metrics           all counters, as OpenMetrics text; with --json as an object
  dax [PATH]        whether DAX is in use, what is mapped, and for a file or directory of the share whether it may be in the window, and why not
  top [--once]      rates, latencies, files and the window, each second; --once: one second, for scripts
  log-level LEVEL   error, warn, info, debug, trace or off, until the daemon ends
  forget MOUNT      lets go of what is open or known below a mount in the share, so that the host can unmount it
  upgrade           lets the program that is installed now go on with the guest
  dump [--paths]    all of it as JSON, for a bug report; names of files only with --paths

  --socket=PATH     the daemon's vhost-user socket or its control socket; not needed where ${RUN_DIRECTORY} has one alone
  --json            for programs
`

export interface CtlArguments {
  readonly command: CtlCommand
  readonly argument: string | undefined
  /** The control socket. */
  readonly socket: string
  readonly json: boolean
  readonly once: boolean
  readonly paths: boolean
}

/**
 * @returns undefined: help is wanted
 * @throws UsageError
 */
export function parseCtl(args: readonly string[], runDirectory = RUN_DIRECTORY): CtlArguments | undefined {
  const { values, positionals } = parse(args)
  if (values.help === true) return undefined
  const [name, argument, stray] = positionals
  const command = CTL_COMMANDS.find((known) => known === name)
  if (command === undefined) throw new UsageError(`the command must be one of ${CTL_COMMANDS.join(', ')}`)
  const most = command === 'dax' || command === 'log-level' || command === 'forget' ? 1 : 0
  if (stray !== undefined || (argument !== undefined && most === 0)) {
    throw new UsageError(`unexpected argument ${JSON.stringify(most === 0 ? argument : stray)}`)
  }
  if (command === 'log-level' && argument === undefined) throw new UsageError('log-level needs a level')
  if (command === 'forget' && argument === undefined) throw new UsageError('forget needs a mount')
  return {
    command,
    argument,
    socket: values.socket === undefined ? onlySocket(runDirectory) : controlSocket(values.socket),
    json: values.json === true,
    once: values.once === true,
    paths: values.paths === true,
  }
}

function parse(args: readonly string[]): ReturnType<typeof parseStrictly> {
  try {
    return parseStrictly(args)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

// oxlint-disable-next-line typescript/explicit-function-return-type, typescript/explicit-module-boundary-types -- parseArgs makes it
function parseStrictly(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      socket: { type: 'string', short: 's' },
      json: { type: 'boolean' },
      once: { type: 'boolean' },
      paths: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
}

function controlSocket(path: string): string {
  return !path.endsWith(CONTROL_SUFFIX) && existsSync(controlPathOf(path)) ? controlPathOf(path) : path
}

function onlySocket(directory: string): string {
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(CONTROL_SUFFIX)) : []
  const [name] = names
  if (name !== undefined && names.length === 1) return join(directory, name)
  const found = names.length === 0 ? 'has none' : `has ${names.join(', ')}`
  throw new UsageError(`which daemon? ${directory} ${found}; name its socket with --socket=PATH`)
}
