// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's selftests on a kernel that looks for errors (KASAN, lockdep and more, see sanitizers/kernel.config), by hand:
 * `npm run test:sanitizers [-- TEST...]`. The first run builds the kernel, which takes an hour.
 */
import { join } from 'node:path'
import { runLogged } from './rig/command.ts'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { cacheSubdir, checkout } from './rig/paths.ts'
import { runMain, step } from './rig/progress.ts'
import { buildInRoot } from './rig/in-root.ts'

/** Everything is many times slower than without. */
const TIMEOUT_SECONDS = 4 * 3600

/** In the nested host. Lockdep must not have given up by their end. */
const SCRIPT = `cp -r /share /tmp/selftests && sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests -s 600 "$@" || exit
grep -q 'debug_locks: *1' /proc/lockdep_stats || { echo 'lockdep has switched itself off'; exit 1; }`

async function main(): Promise<number> {
  const root = await hostRoot()
  const logs = cacheSubdir('logs')
  const kernel = cacheSubdir('sanitizer-kernel')
  const build = ['sh', join(checkout, 'e2e/sanitizers/build-kernel.sh'), kernel]
  await step('building the kernel and the driver', () =>
    runLogged('the build of the kernel', build, join(logs, 'sanitizer-kernel.log')),
  )
  const share = cacheSubdir('selftests')
  const make = buildInRoot(root, 'exec make -C /repo/kernel/selftests OUT=/srv/selftests -j"$(nproc)"')
  await step('building the selftests', () =>
    runLogged('the build of the selftests', make, join(logs, 'selftests-build.log')),
  )
  const tests = process.argv.slice(2)
  const result = await step('the selftests on a kernel with sanitizers', () =>
    runInMachine(root, {
      kernel: '6.12',
      kernelImage: join(kernel, 'build/vmlinux'),
      script: `set -- ${tests.join(' ')}\n${SCRIPT}`,
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
