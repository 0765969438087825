// SPDX-License-Identifier: Apache-2.0
/** Declaration of the addon's `forgetMount`: native/host/forget_mount.h. */
import type { SharedDirectoryId } from './file-system.ts'

/** How much the daemon has let go of. */
export interface ForgottenMount {
  readonly inodes: number
  /** Open files and directories. */
  readonly handles: number
  /** Of the window. */
  readonly ranges: number
}

/**
 * Lets go of a mount below the share, without holding up the calling thread.
 * @param device whose guest has the directory; -1: none
 * @param path from the shared directory on
 * @param mayUnmap a range that is taken from the window stops no guest
 * @returns or `-errno`: -EINVAL there is no mount, -EBUSY its files are in a window from which they may not be taken, -ENOTCONN the guest has
 *   just left
 */
export type ForgetMount = (
  directory: SharedDirectoryId,
  device: number,
  path: string,
  mayUnmap: boolean,
) => Promise<ForgottenMount | number>
