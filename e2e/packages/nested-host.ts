// SPDX-License-Identifier: Apache-2.0
/**
 * `node dist/e2e/packages/nested-host.js [--kernel 6.12|7.3] [--packages DIR]`: the packages for Debian 13 (npm run package) on a Debian 13 with systemd, DKMS and
 * libvirt, booted as a nested host. Minutes for each kernel, so by hand.
 */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkRun, runInMachine } from '../rig/machine.ts'
import { KERNEL_LABELS, kernelLabel } from '../rig/packages.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { runMain, say } from '../rig/progress.ts'
import { nestedRoot } from './nested-root.ts'

/** Longer than it takes on a loaded machine. */
const TIMEOUT_SECONDS = 2400

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', multiple: true, default: [...KERNEL_LABELS] },
      packages: { type: 'string', default: join(cacheSubdir('packages'), 'trixie') },
    },
  })
  const { packages } = values
  const share = cacheSubdir('packages', 'nested')
  rmSync(share, { recursive: true, force: true })
  mkdirSync(share)
  for (const name of readdirSync(packages).filter((file) => file.endsWith('.deb') && !file.includes('dbgsym')))
    copyFileSync(join(packages, name), join(share, name))
  const root = await nestedRoot(share)
  for (const label of values.kernel) {
    const kernel = kernelLabel(label)
    const result = await runInMachine(root, {
      kernel,
      script: 'exec node dist/e2e/packages/nested-session.js',
      timeoutSeconds: TIMEOUT_SECONDS,
      append: ['viewfsd.init=systemd', 'systemd.getty_auto=no'],
      onOutput: (chunk) => process.stdout.write(chunk),
    })
    checkRun(`the packages on ${kernel}`, result)
    say(`packages on ${kernel}: passed in ${result.seconds.toFixed(0)} s, logs in ${result.dir}`)
  }
  return 0
}

runMain(main)
