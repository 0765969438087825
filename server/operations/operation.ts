// SPDX-License-Identifier: Apache-2.0
/** What the table of operations (table.ts) has of each. */
import type { RequestContext } from './request-context.ts'

export interface Operation {
  /**
   * Decodes a request, applies what the session and the options say, and calls one function of the addon.
   * @returns the length of the body in the reply buffer, `-errno`, COMPLETED, or INTERRUPTED
   */
  readonly serve: (request: RequestContext) => number
  /** Bytes that must follow struct fuse_in_header; shorter requests get EINVAL. */
  readonly inSize: number
  /** Bytes that the reply needs after struct fuse_out_header; where they don't fit, EINVAL before anything is done. */
  readonly outSize: number
  /** A read-only file system refuses it. */
  readonly modifies: boolean
  /** FUSE sends no reply, not even an error. */
  readonly silent: boolean
  /** Allowed before FUSE_INIT. */
  readonly early: boolean
}

type Traits = Partial<Pick<Operation, 'modifies' | 'silent' | 'early'>>

export const MODIFIES: Traits = { modifies: true }

/** The shortest name, with its NUL. */
export const NAME = 2

export function operation(
  serve: Operation['serve'],
  inSize: number,
  outSize = 0,
  { modifies = false, silent = false, early = false }: Traits = {},
): Operation {
  return { serve, inSize, outSize, modifies, silent, early }
}
