// SPDX-License-Identifier: Apache-2.0
/**
 * A corpus is a text file with a program a line, in base64. A line that starts with # says what the next one found; such
 * a program is a regression test and stays when the corpus is minimized.
 */
import { readFileSync, writeFileSync } from 'node:fs'

export interface Entry {
  readonly program: Uint8Array
  /** Undefined for one that is kept for the code that it reaches. */
  readonly found: string | undefined
}

export function readCorpus(path: string): Entry[] {
  const entries: Entry[] = []
  let found: string | undefined
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.startsWith('#')) {
      found = line.slice(1).trim()
    } else if (line !== '') {
      entries.push({ program: new Uint8Array(Buffer.from(line, 'base64')), found })
      found = undefined
    }
  }
  return entries
}

export function writeCorpus(path: string, entries: readonly Entry[]): void {
  const lines = entries.map(({ program, found }) => {
    const text = Buffer.from(program).toString('base64')
    return found === undefined ? text : `# ${found}\n${text}`
  })
  writeFileSync(path, `${lines.join('\n')}\n`)
}
