// SPDX-License-Identifier: Apache-2.0
/**
 * `node dist/e2e/rig/in-root.js -- COMMAND...` runs COMMAND in the host root on this machine (no emulator), as builds
 * of the driver and of other C programs want it: the checkout is /repo, the cache is /srv, both writable.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ended, shellQuote, start } from './command.ts'
import { inRoot } from './debian-root.ts'
import { type HostRoot, hostRoot } from './host-root.ts'
import { cacheDir, checkout } from './paths.ts'
import { runMain, StepError } from './progress.ts'

/** argv that runs `script` (sh) in the host root with the checkout at /repo and the cache at /srv. */
export function buildInRoot(root: HostRoot, script: string): string[] {
  mkdirSync(cacheDir, { recursive: true })
  const mounts = [
    `mount --bind ${shellQuote(checkout)} ${shellQuote(join(root.path, 'repo'))}`,
    `mount --bind ${shellQuote(cacheDir)} ${shellQuote(join(root.path, 'srv'))}`,
  ]
  return inRoot(root.path, script, mounts.join('; '))
}

async function main(): Promise<number> {
  const { positionals } = parseArgs({ allowPositionals: true })
  if (positionals.length === 0) throw new StepError('usage: in-root.js -- COMMAND...')
  const root = await hostRoot()
  const argv = buildInRoot(root, `cd /repo; exec ${positionals.map(shellQuote).join(' ')}`)
  const { code } = await ended(start(argv, { stdio: 'inherit' }))
  return code ?? 1
}

if (process.argv[1]?.endsWith('/in-root.js')) runMain(main)
