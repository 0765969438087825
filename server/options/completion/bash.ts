// SPDX-License-Identifier: Apache-2.0
/** Completion for bash, without the functions of the bash-completion package. */
import { type Completion, onlyAssigned, type Program, spellings, valueCompletion } from './program.ts'

function reply(completion: Completion): string {
  switch (completion) {
    case 'nothing':
      return 'return'
    case 'file':
      return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return'
    case 'directory':
      return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return'
    case 'group':
      return 'mapfile -t COMPREPLY < <(compgen -g -- "$cur"); return'
    default:
      return `mapfile -t COMPREPLY < <(compgen -W '${completion.join(' ')}' -- "$cur"); return`
  }
}

/** The words that a value can follow. */
function assignable(word: string, onlyBehind: boolean): string[] {
  if (!word.startsWith('--')) return [word]
  return onlyBehind ? [`${word}=`] : [word, `${word}=`]
}

export function bashCompletion({ name, options, commands }: Program): string {
  const values = options
    .filter((row) => row.value !== undefined)
    .map((row) => {
      const words = spellings(row).flatMap((word) => assignable(word, onlyAssigned(row)))
      return `  ${words.join(' | ')}) ${reply(valueCompletion(row))} ;;\n`
    })
  const follow = Object.entries(commands).filter(([, follows]) => follows !== 'nothing')
  const cases = follow.map(([command, follows]) => `  ${command}) ${reply(follows)} ;;\n`)
  const words = options.flatMap((row) =>
    spellings(row).map((word) => (row.value !== undefined && word.startsWith('--') ? `${word}=` : word)),
  )
  return `# SPDX-License-Identifier: Apache-2.0
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  # "=" is a word of its own.
  if [[ $cur == = ]]; then
    cur=
    prev+==
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}=
  fi
  case $prev in
${values.join('')}${cases.join('')}  esac
  local words='${words.join(' ')}'
  [[ $COMP_CWORD -gt 1 ]] || words+=' ${Object.keys(commands).join(' ')}'
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  [[ \${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}
complete -F _${name} ${name}
`
}
