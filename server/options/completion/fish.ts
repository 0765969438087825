// SPDX-License-Identifier: Apache-2.0
/** Completion for fish. */
import type { OptionRow } from '../table.ts'
import { type Completion, type Program, valueCompletion } from './program.ts'

function quote(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`
}

function words(completion: Completion): string {
  switch (completion) {
    case 'nothing':
      return ''
    case 'file':
      return ' -F'
    case 'directory':
      return " -a '(__fish_complete_directories)'"
    case 'group':
      return " -a '(__fish_complete_groups)'"
    default:
      return ` -a ${quote(completion.join(' '))}`
  }
}

function option(program: string, row: OptionRow): string {
  const { name, letter, value, bare, summary } = row
  const flags = name === letter ? ` -s ${name}` : `${letter === undefined ? '' : ` -s ${letter}`} -l ${name}`
  const required = value === undefined || bare !== undefined ? '' : ' -r'
  const completion = value === undefined ? '' : words(valueCompletion(row))
  return `complete -c ${program}${flags}${required}${completion} -d ${quote(summary)}\n`
}

export function fishCompletion({ name, options, commands }: Program): string {
  const first = Object.keys(commands).join(' ')
  const lines = Object.entries(commands)
    .filter(([, follows]) => follows !== 'nothing')
    .map(([command, follows]) => `complete -c ${name} -n '__fish_seen_subcommand_from ${command}'${words(follows)}\n`)
  return `# SPDX-License-Identifier: Apache-2.0
complete -c ${name} -f
${options.map((row) => option(name, row)).join('')}complete -c ${name} -n 'not __fish_seen_subcommand_from ${first}' -a '${first}'
${lines.join('')}`
}
