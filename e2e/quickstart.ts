// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run quickstart [-- [--shell] [DIR]]`: shares a directory with a guest over viewfsd and a memory-view window, on this
 * machine's own KVM and driver where they work and in the nested rig elsewhere. See README.md.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { QuickstartSummary } from './guest/quickstart-session.ts'
import { runDirectly, whyNested } from './rig/direct.ts'
import { builtDriver } from './rig/driver.ts'
import { type HostRoot, hostRoot } from './rig/host-root.ts'
import { checkRun, newRunDir, runInMachine } from './rig/machine.ts'
import { kernelLabel } from './rig/packages.ts'
import { cacheSubdir } from './rig/paths.ts'
import { runMain, say, step, StepError } from './rig/progress.ts'

/** The default directory holds about this much; emulated guests hash some ten megabytes a second. */
const DEFAULT_BYTES = 48 << 20

/** The default directory: real programs and libraries, as many as fit. */
function defaultDirectory(root: HostRoot): string {
  const dir = join(cacheSubdir('quickstart'), 'files')
  if (existsSync(dir)) return dir
  const partial = `${dir}.partial`
  rmSync(partial, { recursive: true, force: true })
  let bytes = 0
  for (const folder of ['usr/bin', 'usr/lib/x86_64-linux-gnu', 'usr/include/linux', 'usr/share/perl5'])
    for (const entry of readdirSync(join(root.path, folder), { withFileTypes: true, recursive: true })) {
      const source = join(entry.parentPath, entry.name)
      // A quarter from each folder; the last byte of a name is as good as a die.
      if (!entry.isFile() || entry.name.charCodeAt(entry.name.length - 1) % 3 !== 0) continue
      const { size } = statSync(source)
      if (bytes + size > DEFAULT_BYTES || size > DEFAULT_BYTES / 8) continue
      bytes += size
      const target = join(partial, source.slice(root.path.length))
      mkdirSync(join(target, '..'), { recursive: true })
      cpSync(source, target)
    }
  renameSync(partial, dir)
  return dir
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}

function printSummary(summary: QuickstartSummary, where: string): void {
  const lines = [
    '',
    `viewfsd quickstart: all ${summary.files} files (${megabytes(summary.bytes)} MB) have the right checksum in the guest`,
    `  ran on                      ${where}`,
    `  checksums through DAX       ${megabytes(summary.bytes / summary.checksumSeconds)} MB/s`,
    ...summary.fio.map(
      (job) =>
        `  ${`fio ${job.name}, ${job.engine}`.padEnd(28)}${megabytes(job.bytesPerSecond)} MB/s, ${job.iops.toFixed(0)} IOPS`,
    ),
    `  mappings                    ${summary.mappingsMade} made, ${summary.mappingsRemoved} removed, ${summary.mappingsLive} live at the end`,
    `  page faults served          ${summary.faults} by the memory-view driver`,
    `  messages to QEMU            ${summary.messagesAtStart} when the device started, ${summary.messagesAfterwards} afterwards`,
    `  FUSE READ for file data     ${summary.fuseReads}`,
    `  guest page-cache growth     ${summary.pageCacheGrowthKiB} KiB during ${megabytes(summary.bytes)} MB of reads`,
    '',
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** What must hold for the quickstart to be a success. */
function checkSummary(summary: QuickstartSummary, dir: string): void {
  const problems: string[] = []
  if (summary.mappingsMade === 0) problems.push('no DAX range was mapped')
  if (summary.messagesAfterwards !== 0) problems.push(`${summary.messagesAfterwards} messages to QEMU after the start`)
  if (summary.fuseReads !== 0) problems.push(`${summary.fuseReads} FUSE READs for data of the window`)
  if (problems.length > 0) throw new StepError(`the quickstart ran, but: ${problems.join('; ')}`, dir)
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shell: { type: 'boolean', default: false },
      kernel: { type: 'string', default: '7.3' },
      'guest-kernel': { type: 'string', default: '7.3' },
      timeout: { type: 'string', default: '1800' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help || positionals.length > 1)
    throw new StepError('usage: npm run quickstart -- [--shell] [--kernel 6.12|7.3] [DIR]')
  const kernel = kernelLabel(values.kernel)
  const root = await hostRoot()
  const versions = root.manifest.versions
  const given = positionals[0]
  const share =
    given === undefined ? await step('a directory with real files', async () => defaultDirectory(root)) : resolve(given)
  if (!existsSync(share) || !statSync(share).isDirectory()) throw new StepError(`${share} is not a directory`)
  const nested = await step('looking for a usable KVM and driver on this machine', () => whyNested(root, kernel))
  const env = { VIEWFSD_GUEST_KERNEL: kernelLabel(values['guest-kernel']), VIEWFSD_SHELL: values.shell ? '1' : '0' }
  const dir = newRunDir(nested === undefined ? 'direct' : kernel)
  const script = 'exec node dist/e2e/guest/quickstart-session.js'
  const where =
    nested === undefined
      ? "this machine's KVM"
      : `nested rig: host ${root.manifest.kernels[kernel]} in an emulator (so: slow)`
  say(
    `guest under QEMU ${versions['qemu-system-x86'] ?? '?'} with kernel ${root.manifest.kernels[kernelLabel(values['guest-kernel'])]}`,
  )
  if (values.shell) process.stdin.setRawMode?.(true)
  try {
    if (nested === undefined) {
      mkdirSync(join(dir, 'out'), { recursive: true })
      const status = await runDirectly(root, {
        script,
        dir,
        share: { path: share, writable: true },
        env,
        interactive: values.shell,
      })
      if (status !== 0)
        throw new StepError(`the quickstart failed with exit status ${status}`, `${dir}/out/quickstart/*.log`)
    } else {
      say(`using the nested rig: ${nested}`)
      const driver = await builtDriver(root, kernel)
      say(`booting the nested host ... (logs: ${dir})`)
      const result = await runInMachine(root, {
        kernel,
        script,
        dir,
        env,
        files: { 'memory_view.ko': driver },
        share: { path: share, writable: true },
        memoryMiB: 4096,
        timeoutSeconds: values.shell ? 7 * 86400 : Number(values.timeout),
        interactive: values.shell,
        onOutput: (chunk) => process.stderr.write(chunk),
      })
      checkRun('the quickstart', result)
    }
  } finally {
    if (values.shell) process.stdin.setRawMode?.(false)
  }
  if (values.shell) return 0
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by quickstart-session.ts of this same build
  const summary = JSON.parse(readFileSync(join(dir, 'out/summary.json'), 'utf8')) as QuickstartSummary
  printSummary(summary, where)
  checkSummary(summary, dir)
  say(`logs: ${dir}`)
  return 0
}

runMain(main)
