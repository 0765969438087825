// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:workloads [-- options]`: what ordinary programs ask for in a guest, and how long they take, with viewfsd
 * and with Rust virtiofsd, in one nested host. Writes benchmark-workloads.json, .md and .svg.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { GUEST_SESSION_OPTIONS, runGuestSession } from './bench/guest-session.ts'
import {
  opcodeTable,
  WORKLOAD_COLOURS,
  type WorkloadSample,
  workloadBars,
  workloadRows,
  workloadTable,
} from './bench/workload-report.ts'
import { barChart } from './bench/chart.ts'
import type { WorkloadOptions } from './bench/workload-session.ts'
import { WORKLOADS } from './bench/workloads.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run bench:workloads -- [options]
  --runs N          runs, of which the median counts (default 3)
  --files N         files of the archive (default 1000)
  --cache MODE      of both daemons (default auto): with always, names do not get old meanwhile, however slow the emulator
  --only LIST       of ${WORKLOADS.map(({ name }) => name.replaceAll(',', ';')).join(',')}; a comma in a name is a semicolon
  --kernel, --guest-kernel 6.12|7.3  (default 7.3)
  --cpus N          of the nested host (default 1)
  --out DIR         where the results go (default: <cache>/bench)`

/** This machine's npm, for a guest. */
function archiveNpm(archive: string): void {
  const program =
    process.env['npm_execpath'] ?? execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim()
  const folder = dirname(dirname(realpathSync(program)))
  execFileSync('tar', ['-C', dirname(folder), '-cf', archive, 'npm'])
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...GUEST_SESSION_OPTIONS,
      files: { type: 'string', default: '1000' },
      cache: { type: 'string', default: 'auto' },
      only: { type: 'string', default: '' },
      'guest-kernel': { type: 'string', default: '7.3' },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const options: WorkloadOptions = {
    runs: Number(values.runs),
    files: Number(values.files),
    cache: values.cache,
    only: values.only.split(',').flatMap((name) => (name === '' ? [] : [name.replaceAll(';', ',')])),
  }
  const scratch = mkdtempSync(join(tmpdir(), 'viewfsd-bench-'))
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
  const npm = join(scratch, 'npm.tar')
  archiveNpm(npm)
  const session = await runGuestSession({
    script: 'workload-session.js',
    options,
    files: { 'npm.tar': npm },
    kernel: values.kernel,
    guestKernel: values['guest-kernel'],
    timeoutSeconds: Number(values.timeout),
    cpus: Number(values.cpus),
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by workload-session.ts of this same build
  const samples = session.samples as WorkloadSample[]
  const rows = workloadRows(samples)
  const circumstances = {
    ...session.circumstances,
    runs: values.runs,
    files: values.files,
    cache: values.cache,
  }
  const report = [
    '# Requests and time of workloads in a guest\n',
    '![requests and time, ratio to virtiofsd](benchmark-workloads.svg)\n',
    'Made by `npm run bench:workloads`, in one nested rig session, under an emulator: compare within a row; absolute times say nothing.',
    `Each number is the median of ${values.runs} runs. Both daemons have --cache=${values.cache} and else their default options (viewfsd: no window; virtiofsd: no sandbox). The guest's kernel`,
    'counts what it sends (its fuse_request_send event), FORGET excepted. The file system is mounted anew before each workload but those that say "again",',
    "which come right after; the host's caches are warm.\n",
    'What is left can not be spared with files that the host may change at any time: each name is looked up once, and again when it is older than the second',
    'that both daemons let the guest keep it; each file is opened, read and released. In the emulator, where a request takes milliseconds, names get older than',
    'that between two visits of one program, so that what comes "again" asks nearly as often. Times of less than a tenth more or less are noise.\n',
    ...Object.entries(circumstances).map(([name, value]) => `- ${name}: ${value}`),
    `\n${workloadTable(rows)}`,
    '## By opcode\n',
    opcodeTable(rows),
  ].join('\n')
  const out = resultsDir(values.out)
  writeFileSync(join(out, 'benchmark-workloads.json'), `${JSON.stringify({ circumstances, rows, samples }, null, 2)}\n`)
  writeFileSync(join(out, 'benchmark-workloads.md'), report)
  writeFileSync(
    join(out, 'benchmark-workloads.svg'),
    barChart(
      'Requests and time (virtiofsd / viewfsd; log scale; above 1: viewfsd needs less)',
      WORKLOAD_COLOURS,
      workloadBars(rows),
    ),
  )
  process.stdout.write(report)
  say(`results: ${out}/benchmark-workloads.{json,md,svg}`)
  return 0
}

runMain(main)
