// SPDX-License-Identifier: Apache-2.0
/**
 * Everything that tests the driver short of a guest: `node dist/e2e/driver-tests.js [--kernel 6.12] [--part NAME]`.
 *
 * - checks: builds without a warning for each kernel, sparse, checkpatch (in the host root, nothing is booted)
 * - selftests: kernel/selftests in a nested host of each kernel
 * - device: the MemoryView library, in a nested host
 * - window: the daemon's window tests with a view for a window; long in an emulator, so only by hand (`--part window`)
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ended, runLogged, start } from './rig/command.ts'
import { builtDriver } from './rig/driver.ts'
import { type HostRoot, hostRoot } from './rig/host-root.ts'
import { buildInRoot } from './rig/in-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { KERNEL_LABELS, type KernelLabel, kernelLabel } from './rig/packages.ts'
import { cacheSubdir } from './rig/paths.ts'
import { runMain, step, StepError } from './rig/progress.ts'

const PARTS = ['checks', 'selftests', 'device'] as const // by hand besides: window

/** Longer than a part takes on a loaded machine: its end means that something hangs. */
const TIMEOUT_SECONDS = 1200

// CI: plain lines, although the nested host's console is a terminal. An emulated machine needs patience.
const VITEST = 'CI=true VIEWFSD_TEST_PATIENCE=10 node node_modules/vitest/vitest.mjs run --reporter=verbose'
// From memory: some tests drop the page cache again and again.
const SELFTESTS =
  'cp -r /share /tmp/selftests && exec sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests'
const DEVICE_TESTS = `insmod /out/memory_view.ko && ${VITEST} --project device`
const WINDOW_TESTS = [
  'insmod /out/memory_view.ko',
  `VIEWFSD_TEST_WINDOW=memory-view ${VITEST} --project integration server/integration/window-`,
].join(' && ')

async function runChecks(root: HostRoot): Promise<void> {
  mkdirSync(cacheSubdir('kernel-lint'), { recursive: true })
  const command = start(buildInRoot(root, 'exec sh /repo/kernel/scripts/check.sh /srv/kernel-lint'), {
    stdio: 'inherit',
  })
  const { code } = await ended(command)
  if (code !== 0) throw new StepError('a check of the driver failed, see above')
}

/** The selftests' programs, built here, since that takes minutes in an emulator. */
async function builtSelftests(root: HostRoot): Promise<string> {
  const dir = cacheSubdir('selftests')
  const log = join(cacheSubdir('logs'), 'selftests-build.log')
  const make = buildInRoot(root, 'exec make -C /repo/kernel/selftests OUT=/srv/selftests -j"$(nproc)"')
  await step('building the selftests', () => runLogged('the build of the selftests', make, log))
  return dir
}

async function runNested(
  root: HostRoot,
  title: string,
  kernel: KernelLabel,
  script: string,
  shared?: string,
): Promise<void> {
  const result = await runInMachine(root, {
    kernel,
    script,
    files: { 'memory_view.ko': await builtDriver(root, kernel) },
    ...(shared === undefined ? {} : { share: { path: shared, writable: false } }),
    timeoutSeconds: TIMEOUT_SECONDS,
    onOutput: (chunk) => process.stdout.write(chunk),
  })
  checkRun(title, result)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', multiple: true, default: [...KERNEL_LABELS] },
      part: { type: 'string', multiple: true, default: [...PARTS] },
    },
  })
  const root = await hostRoot()
  const kernels = values.kernel.map(kernelLabel)
  const newest = kernels.at(-1)
  let failures = 0
  const attempt = async (title: string, work: () => Promise<void>): Promise<void> => {
    try {
      await step(title, work)
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      process.stderr.write(`${error.message}\n`)
      failures++
    }
  }

  if (values.part.includes('checks')) await attempt('checks of the driver', () => runChecks(root))
  for (const kernel of values.part.includes('selftests') ? kernels : []) {
    const title = `selftests of the driver on ${kernel}`
    await attempt(title, async () => runNested(root, title, kernel, SELFTESTS, await builtSelftests(root)))
  }
  const onNewest = [
    { part: 'device', title: 'library tests with the device', script: DEVICE_TESTS },
    { part: 'window', title: 'window tests with the device', script: WINDOW_TESTS },
  ]
  for (const { part, title, script } of onNewest)
    if (values.part.includes(part) && newest !== undefined)
      await attempt(`${title} on ${newest}`, () => runNested(root, title, newest, script))
  return failures === 0 ? 0 : 1
}

runMain(main)
