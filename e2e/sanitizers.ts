// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's selftests on a kernel that looks for errors (KASAN, lockdep and more, see sanitizers/kernel.config), by hand:
 * `npm run test:sanitizers [-- [--stress SECONDS] [TEST...]]`. The first run builds the kernel.
 *
 * `npm run test:sanitizers -- [--stress SECONDS] fuzz_calls` lets the fuzzer loose on the driver's calls. What is worth keeping of its
 * scripts is in `out/corpus.txt` of the run's folder, to take the place of kernel/selftests/corpus.txt.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runLogged } from './rig/command.ts'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { cacheSubdir, checkout } from './rig/paths.ts'
import { runMain, step } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'

/** Everything is many times slower than without. */
const PATIENCE = 10
const TIMEOUT_SECONDS = 6 * 3600

/** In the nested host. Lockdep must not have given up by their end. */
const SCRIPT = `export MEMVIEW_FOUND=/out/corpus.txt; cp -r /share /tmp/selftests && sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests -p ${PATIENCE} "$@"
status=$?
grep -E 'lock-classes|dependency chains|max locking depth|debug_locks' /proc/lockdep_stats
grep -q 'debug_locks: *1' /proc/lockdep_stats || { echo 'lockdep has switched itself off'; exit 1; }
exit $status`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { stress: { type: 'string', default: '600' } },
    allowPositionals: true,
  })
  const root = await hostRoot()
  const logs = cacheSubdir('logs')
  const kernel = cacheSubdir('sanitizer-kernel')
  const build = ['sh', join(checkout, 'e2e/sanitizers/build-kernel.sh'), kernel]
  await step('building the kernel and the driver', () =>
    runLogged('the build of the kernel', build, join(logs, 'sanitizer-kernel.log')),
  )
  const share = await builtSelftests(root)
  const result = await step('the selftests on a kernel with sanitizers', () =>
    runInMachine(root, {
      kernel: '6.12',
      kernelImage: join(kernel, 'build/vmlinux'),
      script: `set -- -s ${values.stress} ${positionals.join(' ')}\n${SCRIPT}`,
      files: { 'memory_view.ko': join(kernel, 'driver/memory_view.ko') },
      share: { path: share, writable: false },
      cpus: 2,
      memoryMiB: 6144,
      timeoutSeconds: TIMEOUT_SECONDS,
      onOutput: (chunk) => process.stdout.write(chunk),
    }),
  )
  checkRun('the run', result)
  return 0
}

runMain(main)
