// SPDX-License-Identifier: Apache-2.0
/** A socket from a service manager (sd_listen_fds(3)), as if it had been given by --fd. */
import { UsageError } from './options/usage-error.ts'

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3

/**
 * Takes LISTEN_FDS and its like out of `env`: they are for this process alone.
 * @returns further arguments
 * @throws UsageError where there is more than one socket
 */
export function takeSocketActivation(env: NodeJS.ProcessEnv, pid: number): string[] {
  const { LISTEN_PID, LISTEN_FDS } = env
  delete env['LISTEN_PID']
  delete env['LISTEN_FDS']
  delete env['LISTEN_FDNAMES']
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined) return []
  if (LISTEN_FDS !== '1') throw new UsageError(`LISTEN_FDS=${LISTEN_FDS}: one socket is wanted`)
  return [`--fd=${FIRST_FD}`]
}
