// SPDX-License-Identifier: Apache-2.0
/** What the power cuts' session needs besides the rig's root: PostgreSQL as Debian has it, and programs of our own. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runLogged } from '../rig/command.ts'
import type { HostRoot } from '../rig/host-root.ts'
import { buildInRoot } from '../rig/in-root.ts'
import { cacheSubdir, checkout } from '../rig/paths.ts'
import { buildInStages } from '../rig/stages.ts'

/** Only unpacked: their maintainer scripts would start servers. With what they depend on and the root has not. */
const PACKAGES = ['postgresql', 'liblmdb-dev']

function script(folder: string): string {
  return `rm -rf ${folder}/tree ${folder}/archives
mkdir -p ${folder}/tree/root ${folder}/archives/partial
cd ${folder}
apt-get -qq -y --no-install-recommends -o APT::Sandbox::User=root -o Dir::Cache::archives=${folder}/archives --download-only install ${PACKAGES.join(' ')}
ls archives/*.deb
# For its just-in-time compiler alone, and as large as all the rest together.
rm archives/libllvm*.deb archives/libz3*.deb
for archive in archives/*.deb; do dpkg-deb -x $archive tree; done
for name in ledger lmdb-witness; do
  gcc -O1 -Wall -Wextra -I tree/usr/include -o tree/root/$name /repo/e2e/power-cuts/programs/$name.c \\
    $([ $name = ledger ] || echo tree/usr/lib/x86_64-linux-gnu/liblmdb.a) -pthread
done
# As the root has them, links.
for dir in bin sbin lib lib64; do
  [ ! -d tree/$dir ] || { mkdir -p tree/usr/$dir; cp -a tree/$dir/. tree/usr/$dir; rm -r tree/$dir; }
done
rm -rf tree/usr/share/doc tree/usr/share/man tree/usr/share/locale tree/usr/include tree/etc tree/var
tar -C tree -cf programs.tar .
rm -r tree archives`
}

/** A tar file of the cache, to be unpacked at "/" of a machine that has the rig's root; built once. */
export async function builtPrograms(root: HostRoot): Promise<string> {
  const source = join(checkout, 'e2e/power-cuts/programs')
  const hash = createHash('sha256').update(root.path).update(script(''))
  for (const name of readdirSync(source).toSorted()) hash.update(readFileSync(join(source, name)))
  const key = hash.digest('hex').slice(0, 12)
  const dir = join(cacheSubdir('power-cuts'), key)
  const log = join(cacheSubdir('logs'), 'power-cuts-programs.log')
  const build = buildInRoot(root, script(`/srv/power-cuts/${key}.partial`))
  await buildInStages(dir, 'programs for power cuts', [
    { name: 'build', build: () => runLogged('the build of the programs', build, log) },
  ])
  return join(dir, 'programs.tar')
}
