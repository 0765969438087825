// SPDX-License-Identifier: Apache-2.0
/** A Debian user land as a folder: how it is made from this machine's mirror, and how a command runs in it. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machineAptSettings } from './apt-mirror.ts'
import { runLogged, shellQuote } from './command.ts'
import { cacheSubdir } from './paths.ts'

const MOUNTS = 'mount -t proc proc "$ROOT/proc" && mount --bind /dev "$ROOT/dev" && mount -t tmpfs tmpfs "$ROOT/tmp"'

/** argv that runs `script` (sh) inside `root`, with mounts that vanish with it. `extraMounts` runs before, outside. */
export function inRoot(root: string, script: string, extraMounts = 'true'): string[] {
  const outer = `set -e; ROOT=${shellQuote(root)}; ${MOUNTS}; ${extraMounts}; exec chroot "$ROOT" sh -ec ${shellQuote(script)}`
  return ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec', outer]
}

/** Downloaded packages, which all roots share. */
function aptArchives(): string {
  return cacheSubdir('apt-archives')
}

/** The same with the cache's packages in place of the root's own, and apt asking nothing. */
export function aptInRoot(root: string, script: string): string[] {
  return inRoot(
    root,
    `export DEBIAN_FRONTEND=noninteractive LC_ALL=C; ${script}`,
    `mount --bind ${shellQuote(aptArchives())} "$ROOT/var/cache/apt/archives"`,
  )
}

/** A command that installs what follows it, inside a root. */
export const APT_INSTALL = 'eatmydata apt-get -y -o Dpkg::Use-Pty=0 install --no-install-recommends'

/** Makes the smallest root of `release`. */
export async function bootstrap(release: string, mirror: string, root: string, logPath: string): Promise<void> {
  rmSync(root, { recursive: true, force: true })
  await runLogged(
    'debootstrap',
    ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'debootstrap', '--variant=minbase'].concat([
      '--include=ca-certificates,eatmydata',
      `--cache-dir=${aptArchives()}`,
      release,
      root,
      mirror,
    ]),
    logPath,
  )
}

/** Lets apt in the root use `mirror` and this machine's name servers. */
export function aptFiles(root: string, release: string, mirror: string): void {
  writeFileSync(
    join(root, 'etc/apt/sources.list'),
    [release, `${release}-updates`, `${release}-backports`].map((suite) => `deb ${mirror} ${suite} main\n`).join(''),
  )
  writeFileSync(
    join(root, 'etc/apt/apt.conf.d/99viewfsd'),
    `APT::Install-Recommends "false";\nAcquire::Languages "none";\nAPT::Sandbox::User "root";\n${machineAptSettings()}`,
  )
  // Speed over safety: a root that loses power while it is built is built again.
  writeFileSync(join(root, 'etc/dpkg/dpkg.cfg.d/viewfsd'), 'force-unsafe-io\n')
  for (const name of ['resolv.conf', 'hosts']) {
    const source = join('/etc', name)
    if (!existsSync(source)) continue
    rmSync(join(root, 'etc', name), { force: true })
    writeFileSync(join(root, 'etc', name), readFileSync(source))
  }
}
