// SPDX-License-Identifier: Apache-2.0
/**
 * The same kind of run as machine.ts on a machine that needs no emulator: its own KVM works and the memory-view driver
 * is loaded. The script runs in the host root, in a mount and pid namespace, and finds the same places as in the nested
 * host: /repo, /out, /share, /.hostroot.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ended, output, shellQuote, start, stop } from './command.ts'
import { inRoot } from './debian-root.ts'
import type { HostRoot } from './host-root.ts'
import type { KernelLabel } from './packages.ts'
import { cacheSubdir, checkout } from './paths.ts'

/** How long a tiny guest may take to boot before KVM counts as unusable, on a machine that is not itself emulated. */
const KVM_TRIAL_SECONDS = 20

/** Whether KVM works here: boots a guest that can only panic for want of a root, and looks for that panic. */
async function kvmWorks(root: HostRoot, label: KernelLabel, seconds: number): Promise<string | undefined> {
  if (!existsSync('/dev/kvm')) return 'this machine has no /dev/kvm'
  const log = join(cacheSubdir('logs'), 'kvm-trial.log')
  writeFileSync(log, '')
  const image = `/lib/modules/${root.manifest.kernels[label]}/vmlinux`
  const qemu = `qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -M q35 -accel kvm -cpu host -m 256M -serial stdio -kernel ${image} -append 'console=ttyS0 panic=-1'`
  const argv = inRoot(root.path, `timeout -s KILL ${seconds} ${qemu}`)
  const child = start(['sh', '-c', `${argv.map(shellQuote).join(' ')} >${shellQuote(log)} 2>&1 </dev/null`])
  const timer = setTimeout(() => stop(child), (seconds + 5) * 1000)
  await ended(child)
  clearTimeout(timer)
  const text = readFileSync(log, 'latin1')
  if (/Unable to mount root fs|No working init found/.test(text)) return undefined
  return `/dev/kvm does not boot a guest in ${seconds} s (${log})`
}

/** Whether a memory view can be made here. */
function driverWorks(): string | undefined {
  if (!existsSync('/dev/memory-view')) return 'the memory_view driver is not loaded'
  const addon = pathToFileURL(join(checkout, 'dist/native/index.js')).href
  try {
    output([process.execPath, '-e', `import('${addon}').then((m) => m.MemoryView.create(1 << 21).close())`])
    return undefined
  } catch (error) {
    return `/dev/memory-view does not work: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** Why the nested rig is needed, in words; undefined where this machine can do without. */
export async function whyNested(
  root: HostRoot,
  label: KernelLabel,
  trialSeconds = KVM_TRIAL_SECONDS,
): Promise<string | undefined> {
  return driverWorks() ?? (await kvmWorks(root, label, trialSeconds))
}

export interface DirectRun {
  readonly script: string
  readonly dir: string
  readonly share: { readonly path: string; readonly writable: boolean }
  readonly env: Readonly<Record<string, string>>
  readonly interactive: boolean
}

/** Runs the script; gives its exit status. */
export async function runDirectly(root: HostRoot, run: DirectRun): Promise<number> {
  const q = shellQuote
  const env = Object.entries(run.env).map(([key, value]) => `export ${key}=${q(value)}`)
  writeFileSync(join(run.dir, 'out/.command'), `${env.join('\n')}\n${run.script}\n`)
  const namespace = `set -e
WORK=${q(run.dir)}/work; mkdir -p "$WORK"; mount -t tmpfs tmpfs "$WORK"; mkdir "$WORK/upper" "$WORK/tmp" "$WORK/root"
mount -t overlay -o lowerdir=${q(root.path)},upperdir="$WORK/upper",workdir="$WORK/tmp" overlay "$WORK/root"
cd "$WORK/root"; mkdir -p .hostroot
mount --bind ${q(root.path)} .hostroot; mount -o remount,bind,ro .hostroot
mount -t proc proc proc; mount --rbind /dev dev; mount --rbind /sys sys; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs run
mount --rbind ${q(checkout)} repo; mount -o remount,bind,ro repo
mount --bind ${q(run.dir)}/out out; mount --bind ${q(run.share.path)} share
${run.share.writable ? '' : 'mount -o remount,bind,ro share'}
exec chroot . /bin/sh -c 'cd /repo; export HOME=/root PATH=/usr/sbin:/usr/bin; exec sh /out/.command'`
  const child = start(['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', namespace], {
    stdio: [run.interactive ? 'inherit' : 'ignore', 'inherit', 'inherit'],
  })
  const { code } = await ended(child)
  return code ?? 1
}
