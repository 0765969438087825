// SPDX-License-Identifier: Apache-2.0
/** The recipes of doc/usage.md for more than plain files, as they stand there, for the tests that follow them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../rig/paths.ts'

export interface Recipe {
  /** Options of viewfsd, but for its socket and its directory. */
  readonly options: readonly string[]
  /** Commands in the guest. */
  readonly guest: readonly string[]
}

/** The recipe that begins with `**title**`. */
export function recipe(title: string): Recipe {
  const [, text = ''] = readFileSync(join(checkout, 'doc/usage.md'), 'utf8').split(`**${title}**`)
  const block = (/^```sh\n(.*?)^```/ms.exec(text)?.[1] ?? '').replaceAll('\\\n', ' ').split('\n')
  const words = block.find((line) => line.startsWith('viewfsd '))?.split(/\s+/) ?? []
  if (words.length < 4) throw new Error(`doc/usage.md has no recipe for ${title}`)
  return {
    options: words.slice(1).filter((word) => !/^--(socket-path|shared-dir)=/.test(word)),
    guest: block.filter((line) => line.startsWith('guest# ')).map((line) => line.slice('guest# '.length)),
  }
}
