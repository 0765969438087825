// SPDX-License-Identifier: Apache-2.0
/**
 * The patches of kernel/upstream: applied to Debian's source of Linux 7.3, built, booted, and tried with the driver's selftests; by hand:
 * `npm run test:upstream [-- TEST...]`. The first run builds the kernel.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runLogged } from './rig/command.ts'
import { hostRoot } from './rig/host-root.ts'
import { buildInRoot } from './rig/in-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { cacheSubdir, checkout } from './rig/paths.ts'
import { runMain, step } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'

const SOURCE = 'linux-source-7.3'

/** Selftests of what the patches (kernel/upstream/README.md says why) and this kernel do not have. */
const NOT_THERE = ['test_opener', 'test_use', 'test_allocation_failures']

/** The root's apt knows the package wherever it is built; what apt keeps of its own is not for the root. */
const FETCH = `cd /srv/upstream-kernel; apt-get -o Dir::Cache=/tmp -o Dir::Cache::archives=/tmp download ${SOURCE}`

async function main(): Promise<number> {
  const { positionals } = parseArgs({ allowPositionals: true })
  const root = await hostRoot()
  const log = join(cacheSubdir('logs'), 'upstream-kernel.log')
  const kernel = cacheSubdir('upstream-kernel')
  if (!readdirSync(kernel).some((name) => name.startsWith(`${SOURCE}_`)))
    await step(`fetching ${SOURCE}`, () => runLogged('the download', buildInRoot(root, FETCH), log))
  const build = ['sh', join(checkout, 'e2e/upstream/build-kernel.sh'), kernel]
  await step('building the kernel and the driver', () => runLogged('the build of the kernel', build, log))
  const share = await builtSelftests(root)
  const every = readdirSync(share).filter((name) => name.startsWith('test_') && !NOT_THERE.includes(name))
  const tests = positionals.length === 0 ? every.toSorted() : positionals
  const result = await step('the selftests on the patched kernel', () =>
    runInMachine(root, {
      kernel: '7.3',
      kernelImage: join(kernel, 'build/vmlinux'),
      // From memory: some tests drop the page cache again and again.
      script: `cp -r /share /tmp/selftests && sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests ${tests.join(' ')}`,
      files: { 'memory_view.ko': join(kernel, 'build/drivers/misc/memview/memory_view.ko') },
      share: { path: share, writable: false },
      cpus: 2,
      timeoutSeconds: 3600,
      onOutput: (chunk) => process.stdout.write(chunk),
    }),
  )
  checkRun('the run', result)
  return 0
}

runMain(main)
