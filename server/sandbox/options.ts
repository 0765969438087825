// SPDX-License-Identifier: Apache-2.0
/** How far the daemon shuts itself in. Names and meanings are virtiofsd's. */
import type { SeccompAction } from '../../native/sandbox.ts'

export const SANDBOX_CHOICES = ['namespace', 'chroot', 'none'] as const
/**
 * - `namespace`: mount, pid and network namespaces of its own (a user namespace too, unless root), in which the shared
 *   directory is the root directory
 * - `chroot`: the shared directory is the root directory; root only
 * - `none`
 */
export type SandboxKind = (typeof SANDBOX_CHOICES)[number]

export const SECCOMP_CHOICES: readonly SeccompAction[] = ['none', 'kill', 'log', 'trap']

/** `count` ids from `outside` on appear as `inside` and the following. */
export interface IdRange {
  readonly inside: number
  readonly outside: number
  readonly count: number
}

/** What follows a server that a signal has ended. */
export type CrashReaction = 'exit' | 'restart'

export interface SandboxOptions {
  readonly onCrash: CrashReaction
  readonly sandbox: SandboxKind
  readonly seccomp: SeccompAction
  /** Capabilities by their names in lower case without CAP_. */
  readonly modcaps: readonly { readonly keep: boolean; readonly capability: string }[]
  /** The shared directory's mount is read-only, too, where there is one (`namespace`). */
  readonly readonly: boolean
  /** Inodes kept by file handle need CAP_DAC_READ_SEARCH. */
  readonly inodeFileHandles: 'never' | 'prefer' | 'mandatory'
  /** Of the user namespace; empty: the user's own id alone, which is the same there. */
  readonly uidMap: readonly IdRange[]
  readonly gidMap: readonly IdRange[]
}
