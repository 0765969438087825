// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run test:move [-- options]`, by hand: a guest moves while it works, between two nested hosts of different kernels that share storage, there and back, by path and
 * by file handle. See move/session.ts.
 */
import { parseArgs } from 'node:util'
import type { MoveOptions } from './move/session.ts'
import { hostRoot } from './rig/host-root.ts'
import { checkRun, runInTwoMachines } from './rig/machine.ts'
import { KERNEL_LABELS, kernelLabel } from './rig/packages.ts'
import { prefixedLines, runMain, say, step, StepError } from './rig/progress.ts'

const USAGE = `usage: npm run test:move -- [options]
  --first 6.12|7.3          kernel of the host that the guest begins on (default 6.12); the other host has the other one
  --guest-kernel 6.12|7.3   (default 7.3)
  --moves MODE,...          how each move tells inodes (default find-paths,find-paths,file-handles,file-handles)
  --memory MIB              of the guest (default 256)`
const TIMEOUT_SECONDS = 3600

function modeOf(text: string): MoveOptions['moves'][number] {
  const known = (['find-paths', 'file-handles'] as const).find((mode) => mode === text)
  if (known === undefined) throw new StepError(`--moves: ${text} is neither find-paths nor file-handles`)
  return known
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      first: { type: 'string', default: '6.12' },
      'guest-kernel': { type: 'string', default: '7.3' },
      moves: { type: 'string', default: 'find-paths,find-paths,file-handles,file-handles' },
      memory: { type: 'string', default: '256' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const first = kernelLabel(values.first)
  const [second] = KERNEL_LABELS.filter((label) => label !== first)
  if (second === undefined) throw new StepError('the rig has one kernel only')
  const machine = (host: MoveOptions['host']) => {
    const kernel = host === 1 ? first : second
    const options: MoveOptions = {
      host,
      guestKernel: kernelLabel(values['guest-kernel']),
      memoryMiB: Number(values.memory),
      moves: values.moves.split(',').map(modeOf),
    }
    return {
      kernel,
      script: 'exec node dist/e2e/move/session.js',
      env: { VIEWFSD_MOVE: JSON.stringify(options) },
      memoryMiB: 3072,
      timeoutSeconds: TIMEOUT_SECONDS,
      onOutput: prefixedLines(`host ${host}, ${kernel}: `, process.stdout),
    }
  }
  await step('a guest moves between two hosts', async () => {
    const root = await hostRoot()
    const results = await runInTwoMachines(root, [machine(1), machine(2)])
    // Where one has no status, the other may have been torn away with it.
    for (const [index, result] of results.entries()) checkRun(`host ${index + 1}`, result)
    say(`logs: ${results.map(({ dir }) => dir).join(', ')}`)
  })
  return 0
}

runMain(main)
