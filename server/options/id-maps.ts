// SPDX-License-Identifier: Apache-2.0
/** Ranges of user and group ids: --uid-map and --gid-map for a user namespace, --translate-uid and --translate-gid. */

import type { IdTranslation } from '../passthrough/id-translation.ts'

const U32_END = 2 ** 32

/** One line of /proc/PID/uid_map or gid_map. */
export interface IdMap {
  /** First id inside the user namespace. */
  readonly inside: number
  /** First id on the host. */
  readonly outside: number
  readonly count: number
}

function id(text: string): number {
  const value = Number(text)
  if (!/^\+?\d+$/.test(text) || value >= U32_END) throw new Error(`"${text}" is not a number below 2^32`)
  return value
}

/** `:INSIDE:OUTSIDE:COUNT:`; any character that is no digit may stand for the colons. */
export function parseIdMap(text: string): IdMap {
  const delimiter = text.charAt(0)
  const usage = 'must be :NAMESPACE-ID:HOST-ID:COUNT:'
  if (delimiter === '' || /\d/.test(delimiter) || !text.endsWith(delimiter)) throw new Error(usage)
  const parts = text.slice(1, -1).split(delimiter)
  const [inside, outside, count] = parts
  if (inside === undefined || outside === undefined || count === undefined || parts.length !== 3) throw new Error(usage)
  return { inside: id(inside), outside: id(outside), count: id(count) }
}

const TRANSLATION_KINDS = ['guest', 'host', 'squash-guest', 'squash-host', 'forbid-guest', 'map'] as const

/** `KIND:FROM:TO:COUNT`, or `forbid-guest:FROM:COUNT`. */
export function parseTranslation(text: string): IdTranslation {
  const [name = '', ...numbers] = text.split(':')
  const kind = TRANSLATION_KINDS.find((candidate) => candidate === name)
  if (kind === undefined) throw new Error(`must begin with one of ${TRANSLATION_KINDS.join(', ')}, and a colon`)
  const [from, second, third] = numbers.map(id)
  if (kind === 'forbid-guest') {
    if (numbers.length !== 2 || from === undefined || second === undefined)
      throw new Error(`must be ${kind}:FROM:COUNT`)
    return { kind, from, to: 0, count: second }
  }
  if (numbers.length !== 3 || from === undefined || second === undefined || third === undefined) {
    throw new Error(`must be ${kind}:FROM:TO:COUNT`)
  }
  return { kind, from, to: second, count: third }
}

interface Range {
  readonly first: number
  readonly end: number
  readonly rule: string
}

function addRange(ranges: Range[], first: number, count: number, rule: string): void {
  const end = first + count
  // The last id is no id: chown(2) takes it for "leave it".
  if (end >= U32_END) throw new Error(`${rule}: the range ends above the last id, 4294967294`)
  if (count === 0) return
  const other = ranges.find((range) => first < range.end && range.first < end)
  if (other !== undefined)
    throw new Error(`${rule}: its range overlaps that of ${other.rule}: each id can be translated once`)
  ranges.push({ first, end, rule })
}

/**
 * Refuses ranges that are too long, and ids that two rules of one direction want to translate.
 * @throws Error that names the rule
 */
export function checkTranslations(rules: readonly IdTranslation[]): void {
  const guestToHost: Range[] = []
  const hostToGuest: Range[] = []
  for (const { kind, from, to, count } of rules) {
    const rule = kind === 'forbid-guest' ? `${kind}:${from}:${count}` : `${kind}:${from}:${to}:${count}`
    if (kind === 'host' || kind === 'squash-host') addRange(hostToGuest, from, count, rule)
    else addRange(guestToHost, from, count, rule)
    if (kind === 'map') addRange(hostToGuest, to, count, rule)
    else if ((kind === 'guest' || kind === 'host') && to + count > U32_END) {
      throw new Error(`${rule}: the range ends above the last id, 4294967294`)
    }
  }
}
