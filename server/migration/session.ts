// SPDX-License-Identifier: Apache-2.0
/** The FUSE session of a guest that is moved: what it has agreed to holds wherever it goes on. */
import { FUSE_KERNEL_MINOR_VERSION, FuseInitFlag, FuseInitFlag2 } from '../fuse/abi.ts'
import type { NegotiatedOptions, StateSession } from './device-state.ts'

/** FUSE 7.38 is what virtiofsd speaks. */
const VIRTIOFSD_MINOR = 38
/** What virtiofsd always agrees to. */
const VIRTIOFSD_FLAGS =
  FuseInitFlag.ASYNC_READ |
  FuseInitFlag.ATOMIC_O_TRUNC |
  FuseInitFlag.BIG_WRITES |
  FuseInitFlag.AUTO_INVAL_DATA |
  FuseInitFlag.ASYNC_DIO |
  FuseInitFlag.PARALLEL_DIROPS |
  FuseInitFlag.MAX_PAGES |
  FuseInitFlag.INIT_EXT
const ACL_FLAGS = FuseInitFlag.POSIX_ACL | FuseInitFlag.DONT_MASK | FuseInitFlag.SETXATTR_EXT

/** What a daemon would agree to with any guest that wants it. */
export interface Offered {
  readonly flags: number
  readonly flags2: number
}

/** What changes the meaning of requests, so that the guest must not go on without it, and the option that gives it. */
const NEEDED: readonly { readonly flags: number; readonly flags2: number; readonly option: string }[] = [
  { flags: FuseInitFlag.WRITEBACK_CACHE, flags2: 0, option: '--writeback' },
  { flags: FuseInitFlag.SUBMOUNTS, flags2: 0, option: '--announce-submounts' },
  { flags: ACL_FLAGS, flags2: 0, option: '--posix-acl' },
  { flags: FuseInitFlag.HANDLE_KILLPRIV_V2, flags2: 0, option: '--killpriv-v2' },
  { flags: FuseInitFlag.POSIX_LOCKS, flags2: 0, option: '--posix-locks' },
  { flags: FuseInitFlag.FLOCK_LOCKS, flags2: 0, option: '--flocks' },
  { flags: 0, flags2: FuseInitFlag2.SECURITY_CTX, option: '--security-label' },
]

/**
 * Why a guest that has agreed to this can't go on here, or nothing.
 * @param offered by this daemon
 */
export function refuseSession({ minor, flags, flags2 }: StateSession, offered: Offered): string | undefined {
  if (minor > FUSE_KERNEL_MINOR_VERSION)
    return `the guest speaks FUSE 7.${minor}, and this viewfsd 7.${FUSE_KERNEL_MINOR_VERSION}`
  if ((flags & FuseInitFlag.MAP_ALIGNMENT) !== 0) return 'the guest has a DAX window'
  const missing = NEEDED.filter(
    (need) => (need.flags & flags & ~offered.flags) !== 0 || (need.flags2 & flags2 & ~offered.flags2) !== 0,
  )
  if (missing.length === 0) return undefined
  return `the guest has agreed to what this daemon is not started with: ${missing.map(({ option }) => option).join(', ')}`
}

/** What virtiofsd has a place for. */
export function negotiatedOptions({ flags, flags2 }: Offered): NegotiatedOptions {
  return {
    writeback: (flags & FuseInitFlag.WRITEBACK_CACHE) !== 0,
    announceSubmounts: (flags & FuseInitFlag.SUBMOUNTS) !== 0,
    posixAcl: (flags & FuseInitFlag.POSIX_ACL) !== 0,
    supplementaryGroup: (flags2 & FuseInitFlag2.CREATE_SUPP_GROUP) !== 0,
  }
}

/**
 * The session of a guest that a virtiofsd has sent. What it does not say it has by its options, which are taken to be this daemon's.
 * @param offered by this daemon
 */
export function sessionFromVirtiofsd(options: NegotiatedOptions, offered: Offered): StateSession {
  return {
    minor: VIRTIOFSD_MINOR,
    flags:
      VIRTIOFSD_FLAGS |
      (offered.flags & FuseInitFlag.HANDLE_KILLPRIV_V2) |
      (options.writeback ? FuseInitFlag.WRITEBACK_CACHE : 0) |
      (options.announceSubmounts ? FuseInitFlag.SUBMOUNTS : 0) |
      (options.posixAcl ? ACL_FLAGS : 0),
    flags2:
      (offered.flags2 & FuseInitFlag2.SECURITY_CTX) |
      (options.supplementaryGroup ? FuseInitFlag2.CREATE_SUPP_GROUP : 0),
    // Its inodes have none.
    generation: 0,
  }
}
