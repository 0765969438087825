// SPDX-License-Identifier: Apache-2.0
/** Builds the driver's selftests and benchmarks in the host root, since that takes minutes in an emulator. */
import { join } from 'node:path'
import { runLogged } from './command.ts'
import type { HostRoot } from './host-root.ts'
import { buildInRoot } from './in-root.ts'
import { cacheSubdir } from './paths.ts'
import { step } from './progress.ts'

/** The folder with the programs. */
export async function builtSelftests(root: HostRoot): Promise<string> {
  const dir = cacheSubdir('selftests')
  const log = join(cacheSubdir('logs'), 'selftests-build.log')
  const make = buildInRoot(root, 'exec make -C /repo/kernel/selftests OUT=/srv/selftests -j"$(nproc)"')
  await step('building the selftests', () => runLogged('the build of the selftests', make, log))
  return dir
}
