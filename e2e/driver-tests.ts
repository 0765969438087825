// SPDX-License-Identifier: Apache-2.0
/**
 * Everything that tests the driver short of a guest: `node dist/e2e/driver-tests.js [--kernel 6.12] [--part NAME]`.
 *
 * - checks: builds without a warning for each kernel, sparse, checkpatch (in the host root, nothing is booted)
 * - selftests: kernel/selftests, on each kernel
 * - device: the MemoryView library, on the newest kernel
 * - window: the daemon's window tests with a view for a window; long in an emulator, so only by hand (`--part window`)
 *
 * One nested host of each kernel runs the parts that are for it, one after the other.
 */
import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ended, start } from './rig/command.ts'
import { builtDriver } from './rig/driver.ts'
import { type HostRoot, hostRoot } from './rig/host-root.ts'
import { buildInRoot } from './rig/in-root.ts'
import { checkRun, runInMachine } from './rig/machine.ts'
import { KERNEL_LABELS, type KernelLabel, kernelLabel } from './rig/packages.ts'
import { cacheSubdir } from './rig/paths.ts'
import { runMain, step, StepError } from './rig/progress.ts'
import { builtSelftests } from './rig/selftests.ts'

const PARTS = ['checks', 'selftests', 'device'] as const // by hand besides: window

/** Longer than a part takes on a loaded machine: its end means that something hangs. */
const TIMEOUT_SECONDS = 1200

/** What Debian's kernels can find of wrong uses of memory; it ends up in the kernel log as a BUG. */
const MEMORY_DEBUGGING = ['slab_debug=FZPU', 'kfence.sample_interval=20']

// CI: plain lines, although the nested host's console is a terminal. An emulated machine needs patience.
const VITEST = 'CI=true VIEWFSD_TEST_PATIENCE=10 node node_modules/vitest/vitest.mjs run --reporter=verbose'
// With a VM alive all the time, starting and ending others patches no kernel code: see emulator-fault.ts. 0xae01: KVM_CREATE_VM.
// The child keeps the VM when the parent, and with it the command, has ended.
const HOLD_VM = `modprobe kvm-amd && perl -e '
  open(my $kvm, "+<", "/dev/kvm") or die "/dev/kvm: $!\\n";
  ioctl($kvm, 0xae01, 0) or die "KVM_CREATE_VM: $!\\n";
  fork or sleep'`
// From memory: some tests drop the page cache again and again.
const SELFTESTS = `${HOLD_VM} && cp -r /share /tmp/selftests && sh kernel/selftests/run.sh -m /out/memory_view.ko -b /tmp/selftests`
const LOAD = '{ grep -q "^memory_view " /proc/modules || insmod /out/memory_view.ko; }'

interface NestedPart {
  readonly part: string
  readonly everyKernel: boolean
  readonly script: string
}

/** What runs in a nested host, in this order. */
const NESTED: readonly NestedPart[] = [
  { part: 'selftests', everyKernel: true, script: SELFTESTS },
  { part: 'device', everyKernel: false, script: `${LOAD} && ${VITEST} --project device` },
  {
    part: 'window',
    everyKernel: false,
    script: `${LOAD} && VIEWFSD_TEST_WINDOW=memory-view ${VITEST} --project integration server/integration/window-`,
  },
]

async function runChecks(root: HostRoot): Promise<void> {
  mkdirSync(cacheSubdir('kernel-lint'), { recursive: true })
  const command = start(buildInRoot(root, 'exec sh /repo/kernel/scripts/check.sh /srv/kernel-lint'), {
    stdio: 'inherit',
  })
  const { code } = await ended(command)
  if (code !== 0) throw new StepError('a check of the driver failed, see above')
}

async function runNested(
  root: HostRoot,
  title: string,
  kernel: KernelLabel,
  parts: readonly NestedPart[],
): Promise<void> {
  const scripts = parts.map(({ script }) => `(${script}) || status=1`)
  const selftests = parts.some(({ part }) => part === 'selftests')
  const result = await runInMachine(root, {
    kernel,
    script: ['status=0', ...scripts, 'exit $status'].join('\n'),
    files: { 'memory_view.ko': await builtDriver(root, kernel) },
    ...(selftests ? { share: { path: await builtSelftests(root), writable: false } } : {}),
    cpus: 2, // races are what many of the tests are for
    append: MEMORY_DEBUGGING,
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
  for (const kernel of kernels) {
    const parts = NESTED.filter(
      ({ part, everyKernel }) => values.part.includes(part) && (everyKernel || kernel === newest),
    )
    const title = `${parts.map(({ part }) => part).join(', ')} of the driver on ${kernel}`
    if (parts.length > 0) await attempt(title, () => runNested(root, title, kernel, parts))
  }
  return failures === 0 ? 0 : 1
}

runMain(main)
