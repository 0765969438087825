// SPDX-License-Identifier: Apache-2.0
/** 9p for a guest of the rig: Debian's cloud kernels are built without it, so its modules are made from Debian's source. */
import { join } from 'node:path'
import { runLogged } from '../rig/command.ts'
import type { HostRoot } from '../rig/host-root.ts'
import { buildInRoot } from '../rig/in-root.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { buildInStages } from '../rig/stages.ts'

/** The only guest kernel whose source the release itself has. */
export const NINEP_KERNEL = '6.12'
/** In the order in which they are loaded. */
export const NINEP_MODULES = ['9pnet.ko', '9pnet_virtio.ko', '9p.ko'] as const

function buildScript(version: string, folder: string): string {
  const base = version.replace(/\+.*$/, '')
  const make = `make -s -C /lib/modules/${version}/build CONFIG_NET_9P=m CONFIG_NET_9P_VIRTIO=m CONFIG_9P_FS=m`
  // Also after an interrupted build.
  return `cd /srv/9p/${folder}
rm -f linux-source-*.deb
apt-get -qq -o Dir::Cache=/tmp -o APT::Sandbox::User=root download linux-source-${NINEP_KERNEL}=${base}-1
dpkg-deb --fsys-tarfile linux-source-*.deb | tar -xO ./usr/src/linux-source-${NINEP_KERNEL}.tar.xz | xz -dT0 |
  tar -x --strip-components=1 linux-source-${NINEP_KERNEL}/net/9p linux-source-${NINEP_KERNEL}/fs/9p
rm linux-source-*.deb
${make} M="$PWD/net/9p" modules
${make} M="$PWD/fs/9p" KBUILD_EXTRA_SYMBOLS="$PWD/net/9p/Module.symvers" modules
mv net/9p/*.ko fs/9p/*.ko .`
}

/** The modules by name, as paths in the cache; built once. */
export async function builtNinep(root: HostRoot): Promise<Record<string, string>> {
  const version = root.manifest.kernels[NINEP_KERNEL]
  const dir = join(cacheSubdir('9p'), version)
  const build = buildInRoot(root, buildScript(version, `${version}.partial`))
  const log = join(cacheSubdir('logs'), '9p-build.log')
  await buildInStages(dir, 'modules of 9p', [{ name: 'build', build: () => runLogged('the build of 9p', build, log) }])
  return Object.fromEntries(NINEP_MODULES.map((name) => [name, join(dir, name)]))
}
