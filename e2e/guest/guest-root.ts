// SPDX-License-Identifier: Apache-2.0
/** The guest's root folder on the host: the host root again, below a writable layer of its own. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../rig/paths.ts'

/** Where host-init.sh leaves the host root without what it has itself put over it. */
const LOWER = '/.hostroot'

/** Test programs and modules that the machine's side puts into /out; guests find them in /root. */
const TOOLS = [
  'fs-check',
  'dax-io',
  'mapped-watch',
  'request-watch',
  'many-files',
  'semantics',
  'file-model',
  'fs-mix',
  'turns',
  '9pnet.ko',
  '9pnet_virtio.ko',
  '9p.ko',
  'npm.tar',
]

function sh(script: string): void {
  execFileSync('/bin/sh', ['-ec', script], { stdio: ['ignore', 'inherit', 'inherit'] })
}

/** Makes `<dir>/root`, with the writable layer in `dir`; `dir` must be on a file system that can be an upper layer. */
export function makeGuestRoot(dir: string): string {
  for (const name of ['upper', 'work', 'root']) mkdirSync(join(dir, name), { recursive: true })
  const root = join(dir, 'root')
  sh(`mount -t overlay -o lowerdir=${LOWER},upperdir=${dir}/upper,workdir=${dir}/work overlay ${root}`)
  const init = join(root, 'sbin/viewfsd-guest-init')
  copyFileSync(join(checkout, 'e2e/guest/guest-init.sh'), init)
  chmodSync(init, 0o755)
  for (const tool of TOOLS)
    if (existsSync(join('/out', tool))) copyFileSync(join('/out', tool), join(root, 'root', tool))
  return root
}
