// SPDX-License-Identifier: Apache-2.0
/**
 * `node dist/server/fuzz/fuzz-target.js TARGET CORPUS SECONDS SEED CURRENT`: fuzzes one target in this process. What has reached
 * something new is written back to CORPUS; the program that is running is in the file CURRENT, so that it can be found
 * after a crash or a hang.
 */
import { openSync, writeSync } from 'node:fs'
import { readCorpus, writeCorpus } from './engine/corpus.ts'
import { fuzz } from './engine/fuzz.ts'
import { openTarget } from './targets/index.ts'

async function main(): Promise<void> {
  const [name = '', corpusPath = '', seconds = '', seed = '', currentPath = ''] = process.argv.slice(2)
  const target = openTarget(name)
  const current = openSync(currentPath, 'w')
  const about = (program: Uint8Array): void => {
    const text = Buffer.from(program).toString('base64')
    writeSync(current, `${text}\n`.padEnd(4096), 0)
  }
  const begin = Date.now()
  const deadline = begin + Number(seconds) * 1000
  const corpus = readCorpus(corpusPath)
  const result = await fuzz({ target, corpus, seed: Number(seed), deadline, about })
  writeCorpus(corpusPath, result.corpus)
  await target.close()
  const { runs, coveredCharacters, outcomes } = result
  const took = (Date.now() - begin) / 1000
  process.stdout.write(
    `${name}: ${runs} runs in ${took.toFixed(1)} s, corpus ${corpus.length} -> ${result.corpus.length}, ` +
      `${coveredCharacters} characters of code, ${outcomes} outcomes\n`,
  )
}

await main()
// Threads of the addon may still be there.
process.exit(0)
