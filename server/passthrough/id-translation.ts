// SPDX-License-Identifier: Apache-2.0
/**
 * `--translate-uid` and `--translate-gid`: user or group ids as the guest has them and as the host has them. An id that no
 * rule covers stays as it is.
 */

/** One rule. The ranges of the rules of one direction must not overlap (the command line's parser sees to it). */
export interface IdTranslation {
  /**
   * - `guest`: the guest's ids become the host's, one to one; `host`: the host's become the guest's; `map`: both.
   * - `squash-guest`, `squash-host`: all of them become the one `to`.
   * - `forbid-guest`: the guest can't have these.
   */
  readonly kind: 'guest' | 'host' | 'squash-guest' | 'squash-host' | 'forbid-guest' | 'map'
  /** First id of the range that is translated: the guest's, but for `host` and `squash-host`. */
  readonly from: number
  readonly to: number
  readonly count: number
}

/** `chown` and idmapped mounts say so where they mean no id at all. */
export const NO_ID = 0xffff_ffff
/** As native/host/id_ranges.h takes them: quadruples of an id, how many, what the first becomes, and what becomes of the others. */
const SHIFTED = 0
const SQUASHED = 1
const FORBIDDEN = 2

/** How the guest sees the host's ids. */
export function toGuestRanges(rules: readonly IdTranslation[]): Uint32Array {
  const quadruples = rules.flatMap(({ kind, from, to, count }) => {
    if (kind === 'map') return [to, count, from, SHIFTED]
    if (kind === 'host') return [from, count, to, SHIFTED]
    return kind === 'squash-host' ? [from, count, to, SQUASHED] : []
  })
  return Uint32Array.from(quadruples)
}

/** What the guest's ids are on the host. */
export function toHostRanges(rules: readonly IdTranslation[]): Uint32Array {
  const quadruples = rules.flatMap(({ kind, from, to, count }) => {
    if (kind === 'map' || kind === 'guest') return [from, count, to, SHIFTED]
    if (kind === 'squash-guest') return [from, count, to, SQUASHED]
    return kind === 'forbid-guest' ? [from, count, 0, FORBIDDEN] : []
  })
  return Uint32Array.from(quadruples)
}
