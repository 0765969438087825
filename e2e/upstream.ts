// SPDX-License-Identifier: Apache-2.0
/**
 * The patches of kernel/upstream, by hand: `npm run test:upstream [-- [--stress SECONDS] [--kernel plain] [TEST...]]`. Each is applied to
 * Debian's source of Linux 7.3 and compiled; the kernel that has them all is built with lockdep and the like, booted, and tried with the
 * driver's selftests. `--kernel plain` does without what looks for errors. The first run builds the kernel.
 */
import { parseArgs } from 'node:util'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { runMain, step, StepError } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'
import { builtKernel, checkSeries, PATCHED_DRIVER, WITH_MODULES } from './upstream/kernel.ts'

/** How many times slower everything is. */
const PATIENCE = { debug: 10, plain: 1 }
const TIMEOUT_SECONDS = 3 * 3600

/** Lockdep must not have given up by the end. */
const LOCKDEP = `grep -E 'lock-classes|dependency chains|max locking depth|debug_locks' /proc/lockdep_stats
grep -q 'debug_locks: *1' /proc/lockdep_stats || { echo 'lockdep has switched itself off'; exit 1; }
`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { stress: { type: 'string', default: '60' }, kernel: { type: 'string', default: 'debug' } },
    allowPositionals: true,
  })
  const variant = values.kernel
  if (variant !== 'debug' && variant !== 'plain') throw new StepError('--kernel: debug or plain')
  const root = await hostRoot()
  await checkSeries(root)
  const kernel = await builtKernel(root, variant)
  const share = await builtSelftests(root)
  // From memory: some tests drop the page cache again and again.
  const selftests = `cp -r /share /tmp/selftests || exit 1
sh kernel/selftests/run.sh -m "${PATCHED_DRIVER}" -b /tmp/selftests -s ${values.stress} -p ${PATIENCE[variant]} ${positionals.join(' ')}
status=$?
`
  const result = await step('the selftests on the patched kernel', () =>
    runInMachine(root, {
      ...kernel,
      kernel: '7.3',
      script: `${WITH_MODULES}${selftests}${variant === 'debug' ? LOCKDEP : ''}exit $status`,
      env: { MEMVIEW_DIFFERENCES: '/repo/kernel/upstream/differences.txt' },
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
