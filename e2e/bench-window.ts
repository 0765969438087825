// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:window [-- options]`: accesses through a view beside the same accesses to a mapping of the file itself
 * (kernel/selftests/bench_window.c), on each kernel of the rig. Writes benchmark-window.json, .md, and .svg.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { barChart } from './bench/chart.ts'
import {
  firstTouchBars,
  markdownRows,
  type Measurement,
  medians,
  parseMeasurements,
  WINDOW_COLOURS,
} from './bench/window-report.ts'
import { builtDriver } from './rig/driver.ts'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { KERNEL_LABELS, kernelLabel } from './rig/packages.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'

const USAGE = `usage: npm run bench:window -- [options]
  --kernel 6.12|7.3  may be given more than once (default: both)
  --sessions N       nested hosts of each kernel, of which the median counts (default 5)
  --out DIR          where the results go (default: <cache>/bench)`

/** The second is for what the kernel does besides; the benchmark has one thread. */
const CPUS = 2

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', multiple: true, default: [...KERNEL_LABELS] },
      sessions: { type: 'string', default: '5' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const root = await hostRoot()
  const sessions: Measurement[] = []
  // In turns, since what the machine does besides can last for minutes.
  const turns = Array.from({ length: Number(values.sessions) }, () => values.kernel.map(kernelLabel))
  for (const kernel of turns.flat()) {
    let output = ''
    const result = await runInMachine(root, {
      kernel,
      script:
        'cp -r /share /tmp/selftests && sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests -s 3600 bench_window',
      files: { 'memory_view.ko': await builtDriver(root, kernel) },
      share: { path: await builtSelftests(root), writable: false },
      cpus: CPUS,
      timeoutSeconds: 3600,
      onOutput: (chunk) => {
        output += chunk.toString()
        process.stderr.write(chunk)
      },
    })
    checkRun(`the benchmark on ${kernel}`, result)
    sessions.push(...parseMeasurements(kernel, output))
  }
  const all = medians(sessions).toSorted((a, b) => a.kernel.localeCompare(b.kernel))

  const circumstances = {
    date: new Date().toISOString(),
    machine: `emulated host with ${CPUS} CPUs, on ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    sessions: values.sessions,
    kernels: values.kernel.map((label) => root.manifest.kernels[kernelLabel(label)]).join(', '),
  }
  const report = [
    '# The window beside mappings of the files themselves\n',
    '![first touch, ratio to a mapping of the file](benchmark-window.svg)\n',
    'Written by `npm run bench:window`. Under an emulator: compare within a row; absolute numbers say nothing. View and native',
    'mapping took turns in seven runs (cold reads: 28). Each is taken apart into short blocks (256 KiB, or twelve random reads), and the best of each',
    'block counts, since what else the machine does only adds (of writing back the best run); and of some nested hosts one after the',
    'other, each row is the one with the median ratio. "Large" files were written in pieces of 4 MiB, "small" ones page by',
    'page (tmpfs and memfd: huge=always and never); what came of it is in the columns "by PMD": how much was mapped by huge entries.\n',
    ...Object.entries(circumstances).map(([name, value]) => `- ${name}: ${value}`),
    '\n## First touch of what is in memory, a page\n',
    markdownRows('first touch', all),
    '## Cold reads, a page\n',
    markdownRows('cold read', all),
    '## Writing back what was written through the mapping, as fsync does, a page\n',
    markdownRows('fsync', all),
    '## A hot set under memory pressure\n',
    'All of it is read again after each 256 KiB of the other file; times are for both. Major faults, in all runs together, are what',
    'had been evicted of it.\n',
    markdownRows('hot set', all),
  ].join('\n')
  const out = resultsDir(values.out)
  const name = join(out, 'benchmark-window')
  writeFileSync(`${name}.json`, `${JSON.stringify({ circumstances, measurements: all }, null, 2)}\n`)
  writeFileSync(`${name}.md`, report)
  writeFileSync(
    `${name}.svg`,
    barChart('First touch (time, ratio to a mapping of the file; log scale)', WINDOW_COLOURS, firstTouchBars(all)),
  )
  process.stdout.write(report)
  say(`results: ${name}.{json,md,svg}`)
  return 0
}

runMain(main)
