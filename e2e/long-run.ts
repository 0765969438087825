// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run test:long [-- options]`, by hand: an hour of mixed load on two guests that share a directory, while their daemons' servers are killed
 * and upgraded; at the end the daemons have no more than at the beginning. See long-run/session.ts.
 */
import { parseArgs } from 'node:util'
import type { LongRunOptions } from './long-run/session.ts'
import { builtDriver } from './rig/driver.ts'
import { hostRoot } from './rig/host-root.ts'
import { runAsStep } from './rig/machine.ts'
import { kernelLabel } from './rig/packages.ts'
import { runMain, StepError } from './rig/progress.ts'
import { builtTools } from './rig/tools.ts'

const USAGE = `usage: npm run test:long -- [options]
  --seconds N             of load; starts and samples come on top of it (default 3600)
  --kernel, --guest-kernel 6.12|7.3  (default 7.3)`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '3600' },
      kernel: { type: 'string', default: '7.3' },
      'guest-kernel': { type: 'string', default: '7.3' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const options: LongRunOptions = { seconds: Number(values.seconds) }
  const kernel = kernelLabel(values.kernel)
  const root = await hostRoot()
  const title = `two guests, ${options.seconds} s of load`
  const files = { 'memory_view.ko': await builtDriver(root, kernel), ...(await builtTools(root)) }
  await runAsStep(title, root, {
    kernel,
    script: 'exec node dist/e2e/long-run/session.js',
    files,
    env: { VIEWFSD_LONG_RUN: JSON.stringify(options), VIEWFSD_GUEST_KERNEL: kernelLabel(values['guest-kernel']) },
    memoryMiB: 6144,
    timeoutSeconds: 2 * options.seconds + 3600,
    onOutput: (chunk) => process.stdout.write(chunk),
  })
  return 0
}

runMain(main)
