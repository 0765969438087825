// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run test:power-cuts [-- options]`, by hand: what a guest has been told to be on the disk is there after a power cut, through
 * a window and without one. One nested host for each; see power-cuts/session.ts.
 */
import { parseArgs } from 'node:util'
import { builtPrograms } from './power-cuts/programs.ts'
import type { PowerCutOptions } from './power-cuts/session.ts'
import { builtDriver } from './rig/driver.ts'
import { hostRoot } from './rig/host-root.ts'
import { runAsStep } from './rig/machine.ts'
import { kernelLabel } from './rig/packages.ts'
import { runMain, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run test:power-cuts -- [options]
  --cuts N                power cuts, half of them through a window (default 200)
  --steps N               steps of each witness (default 6)
  --file-system NAME      ext4, xfs or btrfs (default ext4)
  --seed N                of the choice of cuts (default: another each time)
  --kernel, --guest-kernel 6.12|7.3  (default 7.3)`

function fileSystemOf(text: string): PowerCutOptions['fileSystem'] {
  const known = (['ext4', 'xfs', 'btrfs'] as const).find((name) => name === text)
  if (known === undefined) throw new StepError(`--file-system=${text}: ext4, xfs or btrfs`)
  return known
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cuts: { type: 'string', default: '200' },
      steps: { type: 'string', default: '6' },
      'file-system': { type: 'string', default: 'ext4' },
      seed: { type: 'string', default: `${Math.trunc(Date.now() / 1000)}` },
      kernel: { type: 'string', default: '7.3' },
      'guest-kernel': { type: 'string', default: '7.3' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const kernel = kernelLabel(values.kernel)
  const root = await hostRoot()
  const files = { 'memory_view.ko': await builtDriver(root, kernel), 'programs.tar': await builtPrograms(root) }
  for (const window of [true, false]) {
    const options: PowerCutOptions = {
      fileSystem: fileSystemOf(values['file-system']),
      window,
      steps: Number(values.steps),
      cuts: Math.ceil(Number(values.cuts) / 2),
      seed: Number(values.seed),
    }
    const title = `power cuts, ${options.fileSystem}, ${window ? 'through a window' : 'without a window'}`
    await runAsStep(title, root, {
      kernel,
      script: 'exec node dist/e2e/power-cuts/session.js',
      files,
      env: { VIEWFSD_POWER_CUTS: JSON.stringify(options), VIEWFSD_GUEST_KERNEL: kernelLabel(values['guest-kernel']) },
      memoryMiB: 6144,
      timeoutSeconds: 7200,
      onOutput: (chunk) => process.stdout.write(chunk),
    })
  }
  return 0
}

runMain(main)
