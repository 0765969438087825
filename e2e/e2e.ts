// SPDX-License-Identifier: Apache-2.0
/**
 * The nested end-to-end tests: `node dist/e2e/e2e.js [--host 6.12] [--guest 7.3] [--tests REGEXP] [--daemon-args WORDS]
 * [--changing-seconds N] [--kills N]`: how long the host changes files under the guest's hands (tests/changing-files.ts) and then
 * fails it in all ways at once (tests/failing-files.ts), and how often a server is killed under it (tests/restart.ts).
 * Each session is one nested host with all suites; by default both kernels take both parts once.
 */
import { parseArgs } from 'node:util'
import { builtDriver } from './rig/driver.ts'
import { hostRoot } from './rig/host-root.ts'
import { runAsStep } from './rig/machine.ts'
import { type KernelLabel, kernelLabel } from './rig/packages.ts'
import { builtTools } from './rig/tools.ts'
import { prefixedLines, runMain, StepError } from './rig/progress.ts'

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      host: { type: 'string' },
      guest: { type: 'string' },
      tests: { type: 'string', default: '' },
      timeout: { type: 'string', default: '3000' },
      'daemon-args': { type: 'string' },
      'changing-seconds': { type: 'string', default: '60' },
      kills: { type: 'string', default: '3' },
    },
  })
  const root = await hostRoot()
  const tools = await builtTools(root)
  // Both run what the host's kernel matters to, and half of the rest each (the root suites boot a kernel of their own choice).
  const all: [KernelLabel, KernelLabel, string][] = [
    ['6.12', '7.3', '^(rig|terminal|dax|life|fs-pci|restart|documents|root 7)'],
    ['7.3', '6.12', '^(rig|dax|life|direct|root 6)'],
  ]
  const sessions = values.host === undefined ? all : all.filter(([host]) => host === kernelLabel(values.host ?? ''))
  const session = async (host: KernelLabel, guest: KernelLabel, suites: string): Promise<boolean> => {
    const guestLabel = values.guest === undefined ? guest : kernelLabel(values.guest)
    const driver = await builtDriver(root, host)
    const title = `end-to-end tests, host ${host}, guest ${guestLabel}`
    const lines = prefixedLines(`${host}: `, process.stdout)
    try {
      await runAsStep(title, root, {
        kernel: host,
        script: 'exec node dist/e2e/tests/session.js',
        files: { 'memory_view.ko': driver, ...tools },
        env: {
          VIEWFSD_GUEST_KERNEL: guestLabel,
          VIEWFSD_TESTS: values.tests || suites,
          VIEWFSD_DAEMON_ARGS: values['daemon-args'] ?? '',
          VIEWFSD_CHANGING_SECONDS: values['changing-seconds'],
          VIEWFSD_KILLS: values.kills,
        },
        memoryMiB: 6144,
        timeoutSeconds: Number(values.timeout),
        onOutput: lines,
      })
      return true
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      process.stderr.write(`${error.message}\n`)
      return false
    }
  }
  // Side by side, with a CPU each: guests and daemons wait for each other, so one session has little use for a second one.
  const passed = await Promise.all(sessions.map((parameters) => session(...parameters)))
  return passed.every(Boolean) ? 0 : 1
}

runMain(main)
