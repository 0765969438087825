// SPDX-License-Identifier: Apache-2.0
/**
 * `node dist/e2e/rig/run.js --kernel 6.12|7.3 [options] -- COMMAND...` runs COMMAND as root in a freshly booted nested
 * host and exits with its status (or 125 when the run itself went wrong: kernel complaints, time, emulator).
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { shellQuote } from './command.ts'
import { hostRoot } from './host-root.ts'
import { checkRun, runInMachine, USUAL_CPUS } from './machine.ts'
import { kernelLabel } from './packages.ts'
import { runMain, say, StepError } from './progress.ts'

const USAGE = `usage: run.js [options] -- COMMAND...
  --kernel 6.12|7.3   kernel of the nested host (default 6.12)
  --image FILE        another kernel to boot in its place, with all that it needs built in (a vmlinux with CONFIG_PVH)
  --memory MIB        its memory (default 4096)
  --cpus N            its CPUs (default ${USUAL_CPUS})
  --timeout SECONDS   kill it after this time (default 600)
  --disk MIB          size of the blank disk /dev/vda (default 16384)
  --share DIR         a folder that appears as /share, writable
  --append WORDS      more kernel command line
  --shell             connect this terminal to COMMAND (default COMMAND: a shell)`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kernel: { type: 'string', default: '6.12' },
      image: { type: 'string' },
      memory: { type: 'string', default: '4096' },
      cpus: { type: 'string', default: String(USUAL_CPUS) },
      timeout: { type: 'string', default: '600' },
      disk: { type: 'string', default: '16384' },
      share: { type: 'string' },
      append: { type: 'string', default: '' },
      shell: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help || (positionals.length === 0 && !values.shell)) throw new StepError(USAGE)
  const root = await hostRoot()
  const script = positionals.length === 0 ? 'exec sh -i' : positionals.map(shellQuote).join(' ')
  if (values.shell) process.stdin.setRawMode?.(true)
  const result = await runInMachine(root, {
    kernel: kernelLabel(values.kernel),
    script,
    memoryMiB: Number(values.memory),
    cpus: Number(values.cpus),
    timeoutSeconds: values.shell ? 86400 : Number(values.timeout),
    diskMiB: Number(values.disk),
    ...(values.image === undefined ? {} : { kernelImage: resolve(values.image) }),
    append: values.append.split(' ').filter(Boolean),
    ...(values.share === undefined ? {} : { share: { path: resolve(values.share), writable: true } }),
    interactive: values.shell,
    onOutput: (chunk) => process.stdout.write(chunk),
  })
  if (values.shell) process.stdin.setRawMode?.(false)
  say(
    `nested host (${values.kernel}): status ${result.status ?? 'none'} after ${result.seconds.toFixed(1)} s, logs in ${result.dir}`,
  )
  if (result.status !== undefined && result.status !== 0 && result.complaints.length === 0 && !result.timedOut)
    return result.status
  try {
    checkRun('the run', result)
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    say(error.message)
    return 125
  }
  return 0
}

runMain(main)
