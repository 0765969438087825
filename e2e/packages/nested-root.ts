// SPDX-License-Identifier: Apache-2.0
/**
 * A Debian 13 as a user of the packages has it: systemd, DKMS, libvirt and backports' QEMU, with the rig's kernels and their headers. It is
 * booted as the nested host, in place of the rig's own root.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { machineMirror } from '../rig/apt-mirror.ts'
import { runLogged, shellQuote } from '../rig/command.ts'
import { APT_INSTALL, aptFiles, aptInRoot, bootstrap } from '../rig/debian-root.ts'
import { type HostRoot, hostRoot, makeImage } from '../rig/host-root.ts'
import { BACKPORTS_PACKAGES } from '../rig/packages.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { buildInStages, buildKey } from '../rig/stages.ts'

const PACKAGES = [
  'apparmor',
  'busybox-static',
  'dbus',
  'dkms',
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
const LAYOUT = 1
const TREE = 'tree'
const IMAGE = 'root.ext4'

/** The rig's host root with the image of this Debian in place of its own. */
export async function nestedRoot(): Promise<HostRoot> {
  const host = await hostRoot()
  const kernels = Object.values(host.manifest.kernels)
  const key = buildKey(LAYOUT, PACKAGES, BACKPORTS_PACKAGES, kernels)
  const dir = join(cacheSubdir('package-roots'), `nested-${key}`)
  const logPath = join(cacheSubdir('logs'), 'nested-root.log')
  const mirror = machineMirror()
  const apt = (tree: string, script: string) => runLogged('installing packages', aptInRoot(tree, script), logPath)
  await buildInStages(dir, 'Debian 13 with libvirt and DKMS', [
    { name: 'debootstrap', build: (partial) => bootstrap('trixie', mirror, join(partial, TREE), logPath) },
    {
      name: 'user land',
      build: async (partial) => {
        const tree = join(partial, TREE)
        aptFiles(tree, 'trixie', mirror)
        await apt(tree, `apt-get update; ${APT_INSTALL} ${PACKAGES.join(' ')}; systemctl disable apparmor`)
      },
    },
    {
      name: 'QEMU',
      build: (partial) =>
        apt(join(partial, TREE), `${APT_INSTALL} -t trixie-backports ${BACKPORTS_PACKAGES.join(' ')}`),
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
    { name: 'image', build: (partial) => makeImage(join(partial, TREE), join(partial, IMAGE), logPath) },
  ])
  return { ...host, image: join(dir, IMAGE) }
}
