// SPDX-License-Identifier: Apache-2.0
/** Where the control socket is by default, beside the vhost-user socket. */
export const CONTROL_SUFFIX = '.ctl'

export function controlPathOf(socketPath: string): string {
  return `${socketPath}${CONTROL_SUFFIX}`
}
