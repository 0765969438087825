// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:guest [-- options]`: fio in a guest, viewfsd's windows against each other and against Rust virtiofsd, all in
 * one nested host. Writes bench.json, bench.md, and bench.svg.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ratioChart } from './bench/chart.ts'
import { timeTable } from './bench/cpu-time.ts'
import { GUEST_SESSION_OPTIONS, runGuestSession } from './bench/guest-session.ts'
import { COLUMNS, PARTS } from './bench/matrix.ts'
import { markdownTable, matrixRows, sweepRows } from './bench/report.ts'
import { residentTable } from './bench/resident.ts'
import type { BenchOptions } from './bench/fio-guest.ts'
import type { BenchSamples } from './bench/session.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run bench:guest -- [options]
  --size MIB        size of the file: a power of two from 8 to 512 (default 64)
  --seconds N       at most this long a job (default 5)
  --runs N          runs, of which the median counts (default 3)
  --columns LIST    of ${COLUMNS.join(',')} (default: all)
  --parts LIST      of ${PARTS.join(',')} (default: all)
  --kernel, --guest-kernel 6.12|7.3  (default 7.3)
  --out DIR         where the results go (default: <cache>/bench)`

/** QEMU 11.1 aborts at about 512 memory regions, so the shmem window is held to 400 live ranges of 2 MiB, by the file. */
const MAX_FILE_MIB = 512

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...GUEST_SESSION_OPTIONS,
      size: { type: 'string', default: '64' },
      seconds: { type: 'string', default: '5' },
      columns: { type: 'string', default: COLUMNS.join(',') },
      parts: { type: 'string', default: PARTS.join(',') },
      'guest-kernel': { type: 'string', default: '7.3' },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const fileMiB = Number(values.size)
  if (!Number.isInteger(Math.log2(fileMiB)) || fileMiB < 8 || fileMiB > MAX_FILE_MIB)
    throw new StepError(`--size: a power of two from 8 to ${MAX_FILE_MIB}`)
  const options: BenchOptions = {
    fileMiB,
    seconds: Number(values.seconds),
    runs: Number(values.runs),
    columns: COLUMNS.filter((name) => values.columns.split(',').includes(name)),
    parts: PARTS.filter((name) => values.parts.split(',').includes(name)),
  }
  const session = await runGuestSession({
    script: 'session.js',
    options,
    kernel: values.kernel,
    guestKernel: values['guest-kernel'],
    timeoutSeconds: Number(values.timeout),
    cpus: Number(values.cpus),
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench/session.ts of this same build
  const samples = session.samples as BenchSamples

  const matrix = matrixRows(samples.fio)
  const sweep = sweepRows(samples.fio)
  const circumstances = {
    ...session.circumstances,
    file: `${fileMiB} MiB`,
    runs: values.runs,
    secondsAtMost: values.seconds,
  }
  const report = [
    '# fio in a guest\n',
    'Everything ran in one nested rig session, under an emulator: compare within a row; absolute numbers say nothing.',
    `Each number is the median of ${values.runs} runs, the columns taking turns; the guest's caches and mappings were dropped before each job, and the other guests stood still.`,
    `The shmem window keeps within QEMU's limits: files of whole 2 MiB ranges, at most 400 of them live.\n`,
    ...Object.entries(circumstances).map(([name, value]) => `- ${name}: ${value}`),
    ...(matrix.length > 0 ? ['\n## The matrix\n', markdownTable(matrix)] : []),
    ...(sweep.length > 0 ? ['\n## Window size against file size, randread-mmap\n', markdownTable(sweep)] : []),
    ...(samples.time.length > 0 ? ['\n## Whose time a miss is\n', timeTable(samples.time)] : []),
    ...(samples.resident.length > 0 ? ['\n## Reads of a resident file\n', residentTable(samples.resident)] : []),
  ].join('\n')
  const out = resultsDir(values.out)
  writeFileSync(join(out, 'bench.json'), `${JSON.stringify({ circumstances, matrix, sweep, samples }, null, 2)}\n`)
  writeFileSync(join(out, 'bench.md'), report)
  if (matrix.length > 0) writeFileSync(join(out, 'bench.svg'), ratioChart('fio in a guest', matrix))
  if (sweep.length > 0) writeFileSync(join(out, 'sweep.svg'), ratioChart('randread-mmap by size of the window', sweep))
  process.stdout.write(report)
  say(`results: ${out}/bench.{json,md}`)
  return 0
}

runMain(main)
