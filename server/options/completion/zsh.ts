// SPDX-License-Identifier: Apache-2.0
/** Completion for zsh: a function for a folder of $fpath, by _arguments. */
import type { OptionRow } from '../table.ts'
import { type Completion, onlyAssigned, type Program, spellings, valueCompletion } from './program.ts'

/** Text inside a specification of _arguments, in single quotes. */
function escape(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''")
}

function action(completion: Completion): string {
  switch (completion) {
    case 'nothing':
      return ' '
    case 'file':
      return '_files'
    case 'directory':
      return '_files -/'
    case 'group':
      return '_groups'
    default:
      return `(${completion.join(' ')})`
  }
}

function specification(row: OptionRow, word: string): string {
  const again = row.repeats === true ? '*' : ''
  const summary = `[${escape(row.summary)}]`
  if (row.value === undefined) return `'${again}${word}${summary}'`
  const assigned = word.startsWith('--') ? (onlyAssigned(row) ? '=-' : '=') : ''
  const optional = row.bare === undefined ? ':' : '::'
  return `'${again}${word}${assigned}${summary}${optional}${escape(row.value)}:${action(valueCompletion(row))}'`
}

export function zshCompletion({ name, options, commands }: Program): string {
  const lines = options.flatMap((row) => spellings(row).map((word) => specification(row, word)))
  const cases = Object.entries(commands).map(
    ([command, follows]) => `    ${command}) _arguments '*:argument:${action(follows)}' ;;\n`,
  )
  return `#compdef ${name}
# SPDX-License-Identifier: Apache-2.0
local line state
_arguments ${[...lines, `'1:command:(${Object.keys(commands).join(' ')})'`, "'*::argument:->argument'"].join(' \\\n  ')}
if [[ $state == argument ]]; then
  case $line[1] in
${cases.join('')}  esac
fi
`
}
