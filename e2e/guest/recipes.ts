// SPDX-License-Identifier: Apache-2.0
/** The recipes of doc/recipes.md for more than plain files, as they stand there, for the tests that follow them. */
import { commandBlock } from '../docs/blocks.ts'

export interface Recipe {
  /** Options of viewfsd, but for its socket and its directory. */
  readonly options: readonly string[]
  /** Commands in the guest. */
  readonly guest: readonly string[]
}

/**
 * @param document doc/recipes.md, named by each test beside the block that it executes
 * @param name of the block
 */
export function recipe(document: string, name: string): Recipe {
  const block = commandBlock(document, name)
  const words = block.find((line) => line.startsWith('viewfsd '))?.split(/\s+/) ?? []
  if (words.length < 4) throw new Error(`${document}: ${name} is no recipe`)
  return {
    options: words.slice(1).filter((word) => !/^--(socket-path|shared-dir)=/.test(word)),
    guest: block.filter((line) => line.startsWith('guest# ')).map((line) => line.slice('guest# '.length)),
  }
}
