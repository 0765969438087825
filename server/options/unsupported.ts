// SPDX-License-Identifier: Apache-2.0
/** Options of virtiofsd that can't be honoured: refused with one line, never ignored. ARCHITECTURE.md says why. */
import type { Arguments } from './arguments.ts'
import { UsageError } from './usage-error.ts'

/** @throws UsageError */
export function refuseUnsupported(given: Arguments): void {
  // A device with a window can't be migrated (QEMU marks it so), and the state of one without is not transferred yet.
  const mode = given.value('migration-mode')
  if (mode !== undefined && mode !== 'find-paths') refuse(`--migration-mode=${mode}`, 'no device can be migrated')
  const reaction = given.value('migration-on-error')
  if (reaction !== undefined && reaction !== 'abort') {
    refuse(`--migration-on-error=${reaction}`, 'no device can be migrated')
  }
  for (const name of ['migration-verify-handles', 'migration-confirm-paths']) {
    if (given.has(name)) refuse(`--${name}`, 'no device can be migrated')
  }
}

function refuse(option: string, why: string): never {
  throw new UsageError(`${option} is not supported: ${why}; leave it out`)
}
