// SPDX-License-Identifier: Apache-2.0
/**
 * A Debian 13 as a user of the packages has it: systemd, DKMS, libvirt and backports' QEMU, with the rig's kernels and their headers. With
 * the packages installed it is booted as the nested host, in place of the rig's own root.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { runLogged, shellQuote } from '../rig/command.ts'
import { APT_INSTALL, aptInRoot, inRoot } from '../rig/debian-root.ts'
import { type HostRoot, hostRoot, makeImage } from '../rig/host-root.ts'
import { BACKPORTS_PACKAGES } from '../rig/packages.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { step } from '../rig/progress.ts'
import { buildInStages, buildKey } from '../rig/stages.ts'
import { freshRoot } from './roots.ts'

const PACKAGES = [
  'apparmor',
  'busybox-static',
  'dbus',
  'dkms',
  'dwarves',
  'gcc',
  'iproute2',
  'kmod',
  'libelf1t64',
  'libvirt-clients',
  'libvirt-daemon-system',
  'make',
  'nodejs',
  'procps',
  'strace',
  'systemd-sysv',
  'udev',
] as const
const LAYOUT = 2
const TREE = 'tree'

async function baseTree(host: HostRoot, logPath: string): Promise<string> {
  const kernels = Object.values(host.manifest.kernels)
  const dir = join(cacheSubdir('package-roots'), `nested-${buildKey(LAYOUT, PACKAGES, BACKPORTS_PACKAGES, kernels)}`)
  const fresh = await freshRoot('trixie')
  const apt = (partial: string, script: string) =>
    runLogged('installing packages', aptInRoot(join(partial, TREE), script), logPath)
  await buildInStages(dir, 'Debian 13 with libvirt and DKMS', [
    {
      name: 'copy',
      build: async (partial) => {
        rmSync(join(partial, TREE), { recursive: true, force: true })
        await runLogged('copying the root', ['cp', '-a', fresh, join(partial, TREE)], logPath)
      },
    },
    {
      name: 'user land',
      build: (partial) => apt(partial, `${APT_INSTALL} ${PACKAGES.join(' ')}; systemctl disable apparmor`),
    },
    {
      name: 'QEMU',
      build: (partial) => apt(partial, `${APT_INSTALL} -t trixie-backports ${BACKPORTS_PACKAGES.join(' ')}`),
    },
    {
      name: 'kernels',
      build: async (partial) => {
        const tree = join(partial, TREE)
        for (const place of ['repo', 'out', 'share', '.rig']) mkdirSync(join(tree, place), { recursive: true })
        const copy = `cd ${shellQuote(host.path)}; cp -a --parents usr/lib/modules usr/src usr/lib/linux-kbuild-* ${shellQuote(tree)}`
        await runLogged('copying the kernels', ['sh', '-ec', copy], logPath)
      },
    },
  ])
  return join(dir, TREE)
}

/**
 * The rig's host root with an image in place of its own that has the packages of `folder` installed, and the module built for both
 * kernels by that.
 */
export async function nestedRoot(folder: string): Promise<HostRoot> {
  const host = await hostRoot()
  const logPath = join(cacheSubdir('logs'), 'nested-root.log')
  rmSync(logPath, { force: true })
  const base = await baseTree(host, logPath)
  const dir = cacheSubdir('package-roots', 'installed')
  const tree = join(dir, TREE)
  const image = join(dir, 'root.ext4')
  rmSync(tree, { recursive: true, force: true })
  await runLogged('copying the root', ['cp', '-a', base, tree], logPath)
  const mount = `mount --bind ${shellQuote(folder)} "$ROOT/share"`
  await step('installing the packages, and building the module by DKMS', () =>
    runLogged('installing the packages', inRoot(tree, 'dpkg -i /share/*.deb; dkms status', mount), logPath),
  )
  await step('an image of that', () => makeImage(tree, image, logPath))
  rmSync(tree, { recursive: true })
  return { ...host, image }
}
