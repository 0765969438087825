// SPDX-License-Identifier: Apache-2.0
/**
 * The loop: mutate a program of the corpus, run it, keep it where it reached something new. Coverage is looked at after a
 * batch, because that costs more than most runs; only a batch that reached something new is run again one by one.
 */
import type { Entry } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { mutate } from './mutate.ts'
import { Random } from './random.ts'
import type { Target } from './target.ts'

const BATCH = 64

export interface FuzzOptions {
  readonly target: Target
  readonly corpus: readonly Entry[]
  readonly seed: number
  /** When to end, by Date.now(). */
  readonly deadline: number
  /** Called before each run, so that a crash leaves the program behind. */
  readonly about: (program: Uint8Array) => void
}

export interface FuzzResult {
  readonly runs: number
  /** The corpus without what reached nothing that an earlier program had not, and with what is new. */
  readonly corpus: readonly Entry[]
  readonly coveredCharacters: number
  readonly outcomes: number
}

/** @throws what the target throws, with the program as `cause` */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { target, deadline, about } = options
  const coverage = new Coverage((url) => target.covers(url))
  const outcomes = new Set<number>()
  const random = new Random(options.seed)
  const kept: Entry[] = []
  let runs = 0

  /** @returns whether there was an outcome that is new */
  const run = async (program: Uint8Array): Promise<boolean> => {
    about(program)
    runs++
    const before = outcomes.size
    for (const outcome of await target.run(program)) outcomes.add(outcome)
    return outcomes.size > before
  }
  const consider = async (entry: Entry): Promise<void> => {
    const isNew = await run(entry.program)
    if (coverage.isNew() || isNew || entry.found !== undefined) kept.push(entry)
  }

  await run(new Uint8Array(0))
  coverage.isNew()
  // Short ones first: they are the better half of a pair that reaches the same.
  for (const entry of options.corpus.toSorted((a, b) => a.program.length - b.program.length)) await consider(entry)
  while (Date.now() < deadline) {
    const batch = Array.from({ length: BATCH }, () => {
      const choose = (): Uint8Array => kept[random.below(Math.max(1, kept.length))]?.program ?? new Uint8Array(0)
      return mutate(choose(), choose(), random)
    })
    const fresh: Uint8Array[] = []
    for (const program of batch) if (await run(program)) fresh.push(program)
    // What has just been counted as seen must be reached again to be told apart.
    const snapshot = coverage.snapshot()
    if (coverage.isNew()) {
      coverage.restore(snapshot)
      for (const program of batch) {
        await run(program)
        if (coverage.isNew() || fresh.includes(program)) kept.push({ program, found: undefined })
      }
    } else {
      for (const program of fresh) kept.push({ program, found: undefined })
    }
  }
  return { runs, corpus: kept, coveredCharacters: coverage.size, outcomes: outcomes.size }
}
