// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:comparison [-- options]`: the same work in guests that get their files from viewfsd, virtiofsd, 9p and a disk
 * of their own, in one nested host. Writes benchmark-comparison.json and prints its tables; doc/comparison.md says what is compared.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { memoryTable, timeTable } from './bench/comparison-report.ts'
import type { ComparisonOptions } from './bench/comparison-session.ts'
import type { ComparisonSample } from './bench/comparison.ts'
import { GUEST_SESSION_OPTIONS, runGuestSession } from './bench/guest-session.ts'
import { builtNinep, NINEP_KERNEL } from './bench/ninep.ts'
import { hostRoot } from './rig/host-root.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run bench:comparison -- [options]
  --runs N          runs, of which the median counts (default 3)
  --files N         files of the archive (default 200)
  --kernel 6.12|7.3 of the host (default 7.3); guests have ${NINEP_KERNEL}
  --out DIR         where the results go (default: <cache>/bench)`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...GUEST_SESSION_OPTIONS,
      files: { type: 'string', default: '200' },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const options: ComparisonOptions = { runs: Number(values.runs), files: Number(values.files) }
  const session = await runGuestSession({
    script: 'comparison-session.js',
    options,
    kernel: values.kernel,
    guestKernel: NINEP_KERNEL,
    files: await builtNinep(await hostRoot()),
    timeoutSeconds: Number(values.timeout),
    cpus: Number(values.cpus),
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by comparison-session.ts of this same build
  const samples = session.samples as ComparisonSample[]
  const circumstances = { ...session.circumstances, runs: values.runs, files: values.files }
  const out = resultsDir(values.out)
  writeFileSync(join(out, 'benchmark-comparison.json'), `${JSON.stringify({ circumstances, samples }, null, 2)}\n`)
  process.stdout.write(`${timeTable(samples)}\n${memoryTable(samples)}`)
  say(`results: ${out}/benchmark-comparison.json`)
  return 0
}

runMain(main)
