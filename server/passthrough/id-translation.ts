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
/** `toHost` of an id that the guest must not use. */
export const FORBIDDEN = -1

export class IdTranslator {
  readonly #rules: readonly IdTranslation[]

  constructor(rules: readonly IdTranslation[]) {
    this.#rules = rules
  }

  /** Every id is the host's, too. */
  get changesNothing(): boolean {
    return this.#rules.length === 0
  }

  /** @returns the host's id, or FORBIDDEN */
  toHost(id: number): number {
    if (id === NO_ID) return id
    for (const { kind, from, to, count } of this.#rules) {
      if (kind === 'host' || kind === 'squash-host' || id < from || id >= from + count) continue
      if (kind === 'forbid-guest') return FORBIDDEN
      return kind === 'squash-guest' ? to : to + (id - from)
    }
    return id
  }
}

/**
 * How the guest sees the host's ids, as native/host/id_ranges.h takes it: quadruples of first host id, count, the guest's id, and
 * 1 where the whole range is that one.
 */
export function toGuestRanges(rules: readonly IdTranslation[]): Uint32Array {
  const quadruples = rules.flatMap(({ kind, from, to, count }) => {
    if (kind === 'map') return [to, count, from, 0]
    if (kind === 'host') return [from, count, to, 0]
    return kind === 'squash-host' ? [from, count, to, 1] : []
  })
  return Uint32Array.from(quadruples)
}
