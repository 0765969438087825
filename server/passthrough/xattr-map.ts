// SPDX-License-Identifier: Apache-2.0
/**
 * `--xattrmap`: names of extended attributes as the guest has them and as the host has them. The grammar and the meaning
 * are virtiofsd's:
 *
 * A map is a series of rules, with white space around them as one likes. A rule is `:TYPE:SCOPE:KEY:PREPEND:`, where any
 * character that stands first may take the colon's place. SCOPE is `client` (names that the guest asks for), `server`
 * (names that the host lists) or `all`. The first rule that matches counts: one with `client` scope matches names that
 * begin with KEY, one with `server` scope names that begin with PREPEND.
 * - `prefix` puts PREPEND before the guest's name and takes it from the host's.
 * - `ok` lets the name through as it is.
 * - `bad` answers EPERM, `unsupported` EOPNOTSUPP; both hide the host's names.
 *
 * `:map:KEY:PREPEND:`, which can only come last, stands for the rules that put all names with KEY below PREPEND and keep
 * the guest from going there directly.
 */
import { Errno } from '../errno.ts'
import type { WireBytes } from '../fuse/wire.ts'

const TYPES = ['prefix', 'ok', 'bad', 'unsupported'] as const
type RuleType = (typeof TYPES)[number]

interface Rule {
  readonly type: RuleType
  readonly client: boolean
  readonly server: boolean
  readonly key: Uint8Array
  readonly prepend: Uint8Array
}

const NOTHING = new Uint8Array(0)
const SPACE = /[ \t\n\f\r]/

function startsWith(bytes: Uint8Array, offset: number, length: number, prefix: Uint8Array): boolean {
  if (prefix.length > length) return false
  return prefix.every((byte, index) => bytes[offset + index] === byte)
}

/** The rules that `map` stands for. */
function expandMap(key: Uint8Array, prepend: Uint8Array): Rule[] {
  const both = { client: true, server: true }
  const rules: Rule[] = [{ type: 'prefix', ...both, key, prepend }]
  // What the host has under KEY is not what the guest means by it, and the guest's own place is not to be entered by
  // another name.
  if (key.length > 0) rules.push({ type: 'bad', ...both, key: prepend, prepend: key })
  rules.push({ type: key.length > 0 ? 'ok' : 'bad', ...both, key: NOTHING, prepend: NOTHING })
  return rules
}

/** @throws Error that says which rule is wrong, and how */
function parseRules(text: string): Rule[] {
  const rules: Rule[] = []
  const encoder = new TextEncoder()
  let position = 0
  let count = 0
  const skipSpace = (): void => {
    while (position < text.length && SPACE.test(text.charAt(position))) position++
  }
  for (skipSpace(); position < text.length; skipSpace()) {
    count++
    const delimiter = text.charAt(position++)
    const field = (): string => {
      const end = text.indexOf(delimiter, position)
      if (end < 0)
        throw new Error(
          `rule ${count} does not end with "${delimiter}", which it begins with: must be such as :map::user.virtiofs.:`,
        )
      const value = text.slice(position, end)
      position = end + 1
      if (value.includes('\0')) throw new Error(`rule ${count} contains a NUL`)
      return value
    }
    const name = field()
    if (name === 'map') {
      rules.push(...expandMap(encoder.encode(field()), encoder.encode(field())))
      skipSpace()
      if (position < text.length) throw new Error('a "map" rule must be the last one')
      break
    }
    const type = TYPES.find((candidate) => candidate === name)
    if (type === undefined) throw new Error(`rule ${count}: "${name}" is none of ${TYPES.join(', ')}, map`)
    const scope = field()
    if (scope !== 'all' && scope !== 'client' && scope !== 'server') {
      throw new Error(`rule ${count}: "${scope}" is none of all, client, server`)
    }
    rules.push({
      type,
      client: scope !== 'server',
      server: scope !== 'client',
      key: encoder.encode(field()),
      prepend: encoder.encode(field()),
    })
  }
  if (rules.length === 0) throw new Error('there is no rule; such as :map::user.virtiofs.:')
  return rules
}

export class XattrMap {
  readonly #rules: readonly Rule[]

  /** @throws Error that says which rule is wrong, and how */
  constructor(text: string) {
    this.#rules = parseRules(text)
  }

  /**
   * The host's name for one of the guest's, NUL-terminated behind its end in `hostName`, which must not be `name`.
   * @returns 0, or `-EPERM` (also where no rule matches), `-EOPNOTSUPP`
   */
  toHost(name: WireBytes, hostName: WireBytes): number {
    const { bytes, offset, length } = name
    const rule = this.#rules.find(({ client, key }) => client && startsWith(bytes, offset, length, key))
    switch (rule?.type) {
      case 'ok':
        hostName.set(bytes, offset, length)
        return 0
      case 'prefix': {
        const mapped = new Uint8Array(rule.prepend.length + length + 1)
        mapped.set(rule.prepend)
        mapped.set(bytes.subarray(offset, offset + length), rule.prepend.length)
        hostName.set(mapped, 0, mapped.length - 1)
        return 0
      }
      case 'unsupported':
        return -Errno.EOPNOTSUPP
      default:
        return -Errno.EPERM
    }
  }

  /**
   * Rewrites a list of NUL-terminated names of the host, in place.
   * @returns the new length
   */
  listFromHost(list: Uint8Array): number {
    let kept = 0
    for (let start = 0; start < list.length; ) {
      const end = list.indexOf(0, start)
      if (end < 0) break
      const length = end - start
      const rule = this.#rules.find(({ server, prepend }) => server && startsWith(list, start, length, prepend))
      const skip = rule?.type === 'prefix' ? rule.prepend.length : 0
      // A name that is nothing but the prefix is none.
      if ((rule?.type === 'ok' || rule?.type === 'prefix') && skip < length) {
        list.copyWithin(kept, start + skip, end + 1)
        kept += length - skip + 1
      }
      start = end + 1
    }
    return kept
  }
}
