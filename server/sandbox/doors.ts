// SPDX-License-Identifier: Apache-2.0
/**
 * Into the sandbox, second half. Everything has been loaded and opened; from here on the process sees the shared directory
 * alone, opens no socket, executes nothing, and makes no system call that is not in native/sandbox/seccomp_rules.cc.
 */
import { sandbox } from '../../native/index.ts'
import { keptCapabilities } from './capabilities.ts'
import type { Launched } from './launch.ts'
import type { SandboxOptions } from './options.ts'

/**
 * Closes the doors and checks each thread.
 * @throws an error with what is open: nothing may be served then
 */
export function closeDoors(launched: Launched, options: SandboxOptions): void {
  const capabilities = keptCapabilities(options)
  try {
    sandbox.closeDoors(launched.control, launched.root, launched.userNamespace, options.seccomp, capabilities)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`--sandbox=${options.sandbox} --seccomp=${options.seccomp}: ${reason}`, { cause: error })
  }
}
