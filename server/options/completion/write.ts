// SPDX-License-Identifier: Apache-2.0
/** `node dist/server/options/completion/write.js DIR`: the completions of both programs, below DIR where shells look for them below share/. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bashCompletion } from './bash.ts'
import { fishCompletion } from './fish.ts'
import { VIEWFSD, VIEWFSDCTL } from './program.ts'
import { zshCompletion } from './zsh.ts'

const [, , directory] = process.argv
if (directory === undefined) throw new Error('usage: write.js DIR')
for (const program of [VIEWFSD, VIEWFSDCTL]) {
  for (const [path, text] of [
    [`bash-completion/completions/${program.name}`, bashCompletion(program)],
    [`zsh/vendor-completions/_${program.name}`, zshCompletion(program)],
    [`fish/vendor_completions.d/${program.name}.fish`, fishCompletion(program)],
  ] as const) {
    const file = join(directory, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}
