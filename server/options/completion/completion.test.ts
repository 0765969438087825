// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { CTL_USAGE } from '../../control/ctl/arguments.ts'
import { OPTION_TABLE } from '../table.ts'
import { bashCompletion } from './bash.ts'
import { fishCompletion } from './fish.ts'
import { VIEWFSD, VIEWFSDCTL } from './program.ts'
import { zshCompletion } from './zsh.ts'

/** What bash offers behind `words`, the last of which is being typed; "=" is a word of its own, as bash has it. */
function offered(...words: readonly string[]): string[] {
  const [program] = words
  const script = `${bashCompletion(program === 'viewfsd' ? VIEWFSD : VIEWFSDCTL)}
    compopt() { :; }
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _${program}; printf '%s\\n' "\${COMPREPLY[@]}"`
  const output = execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', cwd: '/' })
  return output.split('\n').filter(Boolean)
}

test('every option that is no relic is offered', () => {
  const wanted = OPTION_TABLE.filter((row) => row.deprecated !== true && row.name !== row.letter)
  const names = offered('viewfsd', '--').map((word) => word.replace(/=$/, ''))
  expect(names.toSorted()).toEqual(wanted.map((row) => `--${row.name}`).toSorted())
  for (const text of [zshCompletion(VIEWFSD), fishCompletion(VIEWFSD)]) {
    for (const { name } of wanted) expect(text).toMatch(new RegExp(`(?:--|-l )${name}\\b`))
  }
})

test.each([
  [['viewfsd', ''], 'check'],
  [['viewfsd', '--ca'], '--cache='],
  [['viewfsd', '--cache', ''], 'never'],
  [['viewfsd', '--cache', '=', 'ne'], 'never'],
  [['viewfsd', '--posix-acl', '='], 'always'],
  [['viewfsd', '--dax-reserve', '='], 'on'],
  [['viewfsd', '--inode-file-handles', '=', 'p'], 'prefer'],
  [['viewfsd', '--shared-dir', '=', '/us'], '/usr'],
  [['viewfsd', 'check', '--'], '--json'],
  [['viewfsdctl', 'st'], 'status'],
  [['viewfsdctl', 'log-level', 'd'], 'debug'],
  [['viewfsdctl', 'top', '--o'], '--once'],
])('bash completes %j by %s', (words, expected) => {
  expect(offered(...words)).toContain(expected)
})

test.each([[['viewfsd', '--posix-acl', 'al']], [['viewfsd', '--tag', '']], [['viewfsdctl', 'status', 'st']]])(
  'bash has nothing for %j',
  (words) => {
    expect(offered(...words)).toEqual([])
  },
)

test('an optional value is only behind "=" in zsh, and a text does not end its quotes', () => {
  const text = zshCompletion(VIEWFSD)
  expect(text).toContain("'--posix-acl=-[")
  expect(text).toContain("'--cache=[")
  execFileSync('sh', ['-n'], { input: text.replace(/^\[\[.*/m, 'if true; then') })
})

test('viewfsdctl has the options of its help', () => {
  const known = VIEWFSDCTL.options.map((row) => row.name)
  const documented = [...CTL_USAGE.matchAll(/--([a-z-]+)/g)].map((match) => match[1])
  expect(new Set([...documented, 'help'])).toEqual(new Set(known))
})
