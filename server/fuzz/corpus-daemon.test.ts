// SPDX-License-Identifier: Apache-2.0
/** As corpus.test.ts, for the whole daemon. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readCorpus } from './engine/corpus.ts'
import { openTarget } from './targets/index.ts'

test('the corpus of daemon', async () => {
  const entries = readCorpus(join(import.meta.dirname, 'corpus/daemon.txt'))
  const target = openTarget('daemon')
  const outcomes = new Set<number>()
  for (const { program } of entries) for (const outcome of await target.run(program)) outcomes.add(outcome)
  await target.close()
  expect(outcomes.size).toBeGreaterThan(entries.length / 4)
})
