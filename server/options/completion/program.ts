// SPDX-License-Identifier: Apache-2.0
/** What a shell completes: the words of one program's command line. */
import { CTL_COMMANDS } from '../../control/ctl/arguments.ts'
import { LOG_LEVELS, OPTION_TABLE, type OptionRow } from '../table.ts'

/** What can stand for an option's value. */
export type Completion = 'nothing' | 'file' | 'directory' | 'group' | readonly string[]

export interface Program {
  readonly name: string
  readonly options: readonly OptionRow[]
  /** First words that are no options, and what may follow each. */
  readonly commands: Readonly<Record<string, Completion>>
}

export const VIEWFSD: Program = {
  name: 'viewfsd',
  options: OPTION_TABLE.filter((row) => row.deprecated !== true),
  commands: { check: ['--json'] },
}

export const VIEWFSDCTL: Program = {
  name: 'viewfsdctl',
  options: [
    { name: 'socket', letter: 's', value: 'PATH', summary: "the daemon's vhost-user socket or its control socket" },
    { name: 'json', summary: 'for programs' },
    { name: 'once', summary: 'top: one second, for scripts' },
    { name: 'paths', summary: 'dump: names of files, too' },
    { name: 'help', letter: 'h', summary: 'print help' },
  ],
  commands: {
    ...Object.fromEntries(CTL_COMMANDS.map((command): [string, Completion] => [command, 'nothing'])),
    dax: 'file',
    forget: 'directory',
    'log-level': LOG_LEVELS,
  },
}

/** Long options and lone letters as they are typed, without a value. */
export function spellings({ name, letter }: OptionRow): string[] {
  if (name === letter) return [`-${name}`]
  return letter === undefined ? [`--${name}`] : [`--${name}`, `-${letter}`]
}

/** Whether the value can only be behind "=". */
export function onlyAssigned(row: OptionRow): boolean {
  return row.needsEquals === true || row.bare !== undefined
}

export function valueCompletion({ value, check }: OptionRow): Completion {
  if (check !== undefined && 'choices' in check && Array.isArray(check.choices)) return check.choices.map(String)
  switch (value) {
    case 'PATH':
      return 'file'
    case 'DIR':
      return 'directory'
    case 'GROUP':
      return 'group'
    default:
      return 'nothing'
  }
}
