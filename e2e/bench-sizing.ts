// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:sizing [-- options]`: what a window costs a guest, and from which size on files are better off in it. Writes
 * benchmark-sizing.json and .svg, of which doc/sizing.md has the tables and the chart.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { GUEST_SESSION_OPTIONS, runGuestSession } from './bench/guest-session.ts'
import type { SizingOptions } from './bench/sizing-session.ts'
import { fileChart, fileTable, type SizingSamples, windowTable } from './bench/sizing.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run bench:sizing -- [options]
  --runs N          runs, of which the median counts (default 3)
  --kernel, --guest-kernel 6.12|7.3  (default 7.3)
  --out DIR         where the results go (default: <cache>/bench)`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...GUEST_SESSION_OPTIONS,
      'guest-kernel': { type: 'string', default: '7.3' },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const options: SizingOptions = { runs: Number(values.runs) }
  const session = await runGuestSession({
    script: 'sizing-session.js',
    options,
    kernel: values.kernel,
    guestKernel: values['guest-kernel'],
    timeoutSeconds: Number(values.timeout),
    cpus: Number(values.cpus),
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by sizing-session.ts of this same build
  const samples = session.samples as SizingSamples
  const circumstances = { ...session.circumstances, runs: values.runs }
  const out = resultsDir(values.out)
  writeFileSync(join(out, 'benchmark-sizing.json'), `${JSON.stringify({ circumstances, ...samples }, null, 2)}\n`)
  writeFileSync(join(out, 'benchmark-sizing.svg'), fileChart(samples))
  process.stdout.write(`${windowTable(samples)}\n${fileTable(samples)}`)
  say(`results: ${out}/benchmark-sizing.{json,svg}`)
  return 0
}

runMain(main)
