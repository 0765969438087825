// SPDX-License-Identifier: Apache-2.0
/** Prepares the machine that guests run on: KVM, the memory-view driver, a disk with a real file system. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Runs a shell script that must succeed; gives its standard output. */
export function sh(script: string): string {
  return execFileSync('/bin/sh', ['-ec', script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 << 20,
  })
}

/** Where the machine's side puts the module for this kernel (MachineRun.files). */
export const DRIVER = '/out/memory_view.ko'

/** Loads what is missing of KVM and the driver. */
export function loadModules(): void {
  if (!existsSync('/dev/kvm')) sh('modprobe kvm-amd 2>/dev/null || modprobe kvm-intel')
  if (!existsSync('/dev/memory-view') && existsSync(DRIVER)) sh(`insmod ${DRIVER}`)
}

/** Makes a file system on the blank disk and mounts it; gives the mount point. */
export function mountDisk(fsType: 'ext4' | 'xfs' | 'btrfs' = 'ext4', mountPoint = '/data'): string {
  const flags = { ext4: '-q -F -E lazy_itable_init=1,nodiscard', xfs: '-q -f -K', btrfs: '-q -f -K' }[fsType]
  mkdirSync(mountPoint, { recursive: true })
  sh(
    `modprobe ${fsType} 2>/dev/null || true; mkfs.${fsType} ${flags} /dev/vda; mount -t ${fsType} /dev/vda ${mountPoint}`,
  )
  return mountPoint
}

/** The kernel image for guests, unpacked. */
export function guestKernel(label: string): string {
  const manifest: unknown = JSON.parse(readFileSync('/etc/viewfsd-rig.json', 'utf8'))
  const kernels =
    typeof manifest === 'object' && manifest !== null && 'kernels' in manifest ? manifest.kernels : undefined
  const version = Object.entries(kernels ?? {}).find(([key]) => key === label)?.[1]
  if (typeof version !== 'string') throw new Error(`no kernel ${label} in the host root`)
  return join('/lib/modules', version, 'vmlinux')
}

/** Drops clean pages, dentries and inodes of this machine, after writing dirty ones. */
export function dropCaches(): void {
  sh('sync; echo 3 >/proc/sys/vm/drop_caches')
}
