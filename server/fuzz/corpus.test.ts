// SPDX-License-Identifier: Apache-2.0
/** What the fuzzers have found, and everything that they have kept, once more. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readCorpus } from './engine/corpus.ts'
import { openTarget } from './targets/index.ts'

test.each(['fuse', 'passthrough', 'vhost-user', 'state', 'control'])('the corpus of %s', async (name) => {
  const entries = readCorpus(join(import.meta.dirname, `corpus/${name}.txt`))
  const target = openTarget(name)
  const outcomes = new Set<number>()
  for (const [index, { program, found }] of entries.entries()) {
    try {
      for (const outcome of await target.run(program)) outcomes.add(outcome)
    } catch (error) {
      throw new Error(`program ${index + 1}${found === undefined ? '' : ` (${found})`}`, { cause: error })
    }
  }
  await target.close()
  // A corpus that nothing comes of any more is one in a format of before.
  expect(outcomes.size).toBeGreaterThan(entries.length / 4)
})
