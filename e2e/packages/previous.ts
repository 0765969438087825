// SPDX-License-Identifier: Apache-2.0
/** The version before, as far as an upgrade can tell: the same packages with an older version, and files that are no more. */
import { mkdirSync } from 'node:fs'
import { runLogged, shellQuote } from '../rig/command.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { source } from './source.ts'

export const PREVIOUS_VERSION = '0.0.9'
/** What only the previous version has. */
export const GONE = ['/usr/lib/viewfsd/main-PREVIOUS.js', `/usr/src/memory-view-${PREVIOUS_VERSION}/gone.h`]

/** Makes previous versions of the packages in `folder`, below `into`. */
export async function makePrevious(folder: string, into: string): Promise<void> {
  const { version } = source()
  mkdirSync(into, { recursive: true })
  const script = `
    for deb in ${shellQuote(folder)}/*.deb; do
      case $deb in *dbgsym*) continue ;; esac
      rm -rf tree; dpkg-deb -R "$deb" tree
      sed -i 's/^Version: .*/Version: ${PREVIOUS_VERSION}/' tree/DEBIAN/control
      if [ -d tree/usr/src ]; then
        mv tree/usr/src/memory-view-${version} tree/usr/src/memory-view-${PREVIOUS_VERSION}
        touch tree/usr/src/memory-view-${PREVIOUS_VERSION}/gone.h
        sed -i 's/${version.replaceAll('.', '\\.')}/${PREVIOUS_VERSION}/g' tree/DEBIAN/postinst tree/DEBIAN/prerm \\
          tree/usr/src/memory-view-${PREVIOUS_VERSION}/dkms.conf
      else
        touch tree/usr/lib/viewfsd/main-PREVIOUS.js
      fi
      dpkg-deb --root-owner-group -Zgzip -z1 -b tree . >/dev/null
    done
    rm -rf tree`
  await runLogged('making previous packages', ['sh', '-ec', script], `${cacheSubdir('logs')}/package-previous.log`, {
    cwd: into,
  })
}
