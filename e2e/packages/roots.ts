// SPDX-License-Identifier: Apache-2.0
/**
 * The Debian roots of the packages: one of each release to build in, with what builds packages and nothing else, one to
 * install in, as small as debootstrap makes it, and one with systemd. Nothing writes to them once they are built; who uses one has a layer of its own over it.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { machineMirror } from '../rig/apt-mirror.ts'
import { runLogged, shellQuote } from '../rig/command.ts'
import { APT_INSTALL, aptFiles, aptInRoot, bootstrap } from '../rig/debian-root.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { buildInStages, buildKey } from '../rig/stages.ts'

/** Debian 13, whose Node.js is new enough, and 12, whose is not. */
export const RELEASES = ['trixie', 'bookworm'] as const
export type Release = (typeof RELEASES)[number]

const BUILD_PACKAGES = ['build-essential', 'debhelper', 'dh-apparmor', 'dh-dkms']
const TREE = 'tree'
/** Raise when the way a root is put together changes. */
const LAYOUT = 1

/** What the build root has besides. */
function buildPackages(release: Release): string[] {
  return release === 'trixie' ? [...BUILD_PACKAGES, 'nodejs', 'lintian', 'zsh', 'fish'] : BUILD_PACKAGES
}

async function root(release: Release, purpose: string, packages: readonly string[]): Promise<string> {
  const key = buildKey(LAYOUT, release, packages)
  const dir = join(cacheSubdir('package-roots'), `${release}-${purpose}-${key}`)
  const logPath = join(cacheSubdir('logs'), `${release}-${purpose}-root.log`)
  const mirror = machineMirror()
  const base = packages.length === 0 ? undefined : await freshRoot(release)
  await buildInStages(dir, `${release} root to ${purpose} in`, [
    {
      name: base === undefined ? 'debootstrap' : 'copy',
      build: async (partial) => {
        const tree = join(partial, TREE)
        if (base !== undefined) {
          rmSync(tree, { recursive: true, force: true })
          return runLogged('copying the root', ['cp', '-a', base, tree], logPath)
        }
        await bootstrap(release, mirror, tree, logPath)
        aptFiles(tree, release, mirror)
        return runLogged('reading package lists', aptInRoot(tree, 'apt-get update'), logPath)
      },
    },
    {
      name: 'packages',
      build: async (partial) => {
        const install = `${APT_INSTALL} ${packages.map(shellQuote).join(' ')}`
        if (base !== undefined) await runLogged('installing packages', aptInRoot(join(partial, TREE), install), logPath)
      },
    },
  ])
  return join(dir, TREE)
}

/** The root that packages for `release` are built in. */
export function buildRoot(release: Release): Promise<string> {
  return root(release, 'build', buildPackages(release))
}

/** One that boots, and has what the packages need. */
export function bootableRoot(): Promise<string> {
  return root('trixie', 'boot', ['systemd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'nodejs'])
}

/** A root of `release` that has nothing but what each has. */
export function freshRoot(release: Release): Promise<string> {
  return root(release, 'install', [])
}
