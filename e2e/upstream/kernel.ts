// SPDX-License-Identifier: Apache-2.0
/** Linux 7.3 with the patches of kernel/upstream, built from Debian's source in `<cache>/upstream-kernel`. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runLogged } from '../rig/command.ts'
import type { HostRoot } from '../rig/host-root.ts'
import { buildInRoot } from '../rig/in-root.ts'
import { cacheSubdir, checkout } from '../rig/paths.ts'
import { step } from '../rig/progress.ts'

const SOURCE = 'linux-source-7.3'

/** See build-kernel.sh. */
export type Variant = 'debug' | 'plain' | 'unpatched'

/** What {@link runInMachine} needs to boot it. */
export interface UpstreamKernel {
  readonly kernelImage: string
  /** To be copied to /out; {@link WITH_MODULES} expects them there. */
  readonly files: Readonly<Record<string, string>>
}

/** Begins a script for such a kernel: its modules are there then. */
export const WITH_MODULES = `mount -t tmpfs none /lib/modules && tar -C /lib/modules -xf /out/modules.tar && depmod || exit 1
`

/** The driver of the patches, in the nested host. That of kernel/ is /out/memory_view.ko. */
export const PATCHED_DRIVER = '/lib/modules/$(uname -r)/kernel/drivers/misc/memview/memory_view.ko'

/** The root's apt knows the package wherever it is built; what apt keeps of its own is not for the root. */
const FETCH = `cd /srv/upstream-kernel; apt-get -o Dir::Cache=/tmp -o Dir::Cache::archives=/tmp download ${SOURCE}`

const log = (): string => join(cacheSubdir('logs'), 'upstream-kernel.log')

async function fetchedSource(root: HostRoot): Promise<string> {
  const dir = cacheSubdir('upstream-kernel')
  if (!readdirSync(dir).some((name) => name.startsWith(`${SOURCE}_`)))
    await step(`fetching ${SOURCE}`, () => runLogged('the download', buildInRoot(root, FETCH), log()))
  return dir
}

/** Applies the patches one by one, and compiles what each of them touches. */
export async function checkSeries(root: HostRoot): Promise<void> {
  const dir = await fetchedSource(root)
  const check = ['sh', join(checkout, 'e2e/upstream/check-series.sh'), dir]
  await step('applying and compiling each patch', () => runLogged('the check of the patches', check, log()))
}

/** The kernel; the first time of each takes half an hour of CPU time. */
export async function builtKernel(root: HostRoot, variant: Variant): Promise<UpstreamKernel> {
  const dir = await fetchedSource(root)
  const build = ['sh', join(checkout, 'e2e/upstream/build-kernel.sh'), dir, variant]
  await step(`building the kernel (${variant})`, () => runLogged('the build of the kernel', build, log()))
  const out = join(dir, `build-${variant}`)
  return {
    kernelImage: join(out, 'vmlinux'),
    files: { 'modules.tar': join(out, 'modules.tar'), 'memory_view.ko': join(out, 'driver/memory_view.ko') },
  }
}
