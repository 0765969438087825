// SPDX-License-Identifier: Apache-2.0
/** What is installed where. Versions are resolved when the root is built, and kept in its manifest. */

import { StepError } from './progress.ts'

/** From the release: the host's and the guest's user land, and all that builds the driver for both kernels. */
export const RELEASE_PACKAGES = [
  'acl',
  'attr',
  'bc',
  'btrfs-progs',
  'busybox-static',
  'dwarves',
  'dmsetup',
  'e2fsprogs',
  'fio',
  'fuse3',
  'gcc',
  'git',
  'iproute2',
  'kmod',
  'libc6-dev',
  'libelf1t64',
  'libfuse2t64',
  'make',
  'nodejs',
  'procps',
  'sparse',
  'sqlite3',
  'strace',
  'virtiofsd',
  'xfsprogs',
  'xz-utils',
  'zstd',
] as const

/** From backports: the frontend, unmodified. */
export const BACKPORTS_PACKAGES = ['qemu-system-x86', 'qemu-utils'] as const

/** The release's own QEMU, unpacked beside the other: the outer emulator (steadier at emulating than 11.1). */
export const OUTER_QEMU_PACKAGES = ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data'] as const

/** The kernels that the rig can boot, by their label. */
export const KERNEL_LABELS = ['6.12', '7.3'] as const
export type KernelLabel = (typeof KERNEL_LABELS)[number]

/** Checks a kernel label that a person gave. */
export function kernelLabel(text: string): KernelLabel {
  const label = KERNEL_LABELS.find((known) => known === text)
  if (label === undefined) throw new StepError(`kernel ${text}: one of ${KERNEL_LABELS.join(', ')}`)
  return label
}

/**
 * Packages of one cloud kernel with what builds modules for it. Unpacked with dpkg-deb, not installed: apt refuses the
 * mix of the release's and the backports' kernels, and maintainer scripts would build an initramfs nobody boots.
 */
export function kernelPackages(label: KernelLabel, version: string): string[] {
  const base = version.replace(/-cloud-amd64$/, '')
  const images = label === '6.12' ? ['linux-image'] : ['linux-binary', 'linux-modules', 'linux-base']
  return [
    ...images.map((name) => `${name}-${version}`),
    `linux-headers-${version}`,
    `linux-headers-${base}-common`,
    `linux-kbuild-${base}`,
  ]
}

/** The highest cloud kernel of a series among package names, as `6.12.117+deb13-cloud-amd64`. */
export function newestKernel(label: KernelLabel, packageNames: readonly string[]): string | undefined {
  const pattern = /^linux-(?:image|binary)-(\d+\.\d+\.(\d+)\+\S+-cloud-amd64)$/
  let best: { version: string; patch: number } | undefined
  for (const name of packageNames) {
    const match = pattern.exec(name)
    const version = match?.[1]
    if (version === undefined || !version.startsWith(`${label}.`)) continue
    const patch = Number(match?.[2])
    if (best === undefined || patch > best.patch) best = { version, patch }
  }
  return best?.version
}
