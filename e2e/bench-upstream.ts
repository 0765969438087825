// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:upstream [-- --out DIR]`: the window benchmark on Linux 7.3 with the patches of kernel/upstream, for their driver and
 * for the one of kernel/, and for the latter without the patches. Writes benchmark-upstream.json and .md.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { upstreamTable } from './bench/upstream-report.ts'
import { type Measurement, parseMeasurements } from './bench/window-report.ts'
import { type HostRoot, hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { resultsDir } from './rig/paths.ts'
import { runMain, say, step } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'
import { builtKernel, PATCHED_DRIVER, type Variant, WITH_MODULES } from './upstream/kernel.ts'

/** The second is for what the kernel does besides; the benchmark has one thread. */
const CPUS = 2

/** The drivers take turns. */
const ROUNDS = 3

/** By driver, what a boot of that kernel has measured, in all rounds. */
async function measure(root: HostRoot, variant: Variant, drivers: readonly string[]): Promise<Measurement[][]> {
  const kernel = await builtKernel(root, variant)
  const share = await builtSelftests(root)
  const runs = Array.from({ length: ROUNDS }, () => drivers)
    .flat()
    .map((driver) => `sh kernel/selftests/run.sh -m "${driver}" -b /tmp/selftests -s 3600 bench_window || exit 1`)
  let output = ''
  const result = await step(`measuring on the kernel (${variant})`, () =>
    runInMachine(root, {
      ...kernel,
      kernel: '7.3',
      script: `${WITH_MODULES}cp -r /share /tmp/selftests || exit 1\n${runs.join('\necho next driver\n')}`,
      share: { path: share, writable: false },
      cpus: CPUS,
      timeoutSeconds: 2 * 3600,
      onOutput: (chunk) => {
        output += chunk.toString()
        process.stderr.write(chunk)
      },
    }),
  )
  checkRun(`the benchmark on the kernel (${variant})`, result)
  const parts = output.split(/^next driver\r?$/m).map((part) => parseMeasurements('7.3', part))
  return drivers.map((_, i) => parts.filter((__, part) => part % drivers.length === i).flat())
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { out: { type: 'string' } } })
  const root = await hostRoot()
  const [series = [], outOfTree = []] = await measure(root, 'plain', [PATCHED_DRIVER, '/out/memory_view.ko'])
  const [unpatched = []] = await measure(root, 'unpatched', ['/out/memory_view.ko'])
  const measurements = { series, outOfTree, unpatched }
  const circumstances = `${new Date().toISOString()}, emulated host with ${CPUS} CPUs, on ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`
  const table = upstreamTable(measurements)
  const name = join(resultsDir(values.out), 'benchmark-upstream')
  writeFileSync(`${name}.json`, `${JSON.stringify({ circumstances, ...measurements }, null, 2)}\n`)
  writeFileSync(`${name}.md`, `${circumstances}\n\n${table}`)
  process.stdout.write(table)
  say(`results: ${name}.{json,md}`)
  return 0
}

runMain(main)
