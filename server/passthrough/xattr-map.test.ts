// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Errno } from '../errno.ts'
import { WireBytes } from '../fuse/wire.ts'
import { XattrMap } from './xattr-map.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** The host's name, or `-errno`. */
function toHost(map: XattrMap, name: string): string | number {
  const bytes = encode(`xx${name}\0`)
  const from = new WireBytes()
  from.set(bytes, 2, bytes.length - 3)
  const to = new WireBytes()
  const result = map.toHost(from, to)
  if (result < 0) return result
  expect(to.bytes[to.offset + to.length]).toBe(0)
  return decode(to.copy())
}

function fromHost(map: XattrMap, ...names: string[]): string[] {
  const list = encode(names.map((name) => `${name}\0`).join(''))
  return decode(list.subarray(0, map.listFromHost(list)))
    .split('\0')
    .slice(0, -1)
}

describe('rules', () => {
  test('a prefix is put before and taken away', () => {
    const map = new XattrMap(':prefix:all:trusted.:user.virtiofs.: :ok:all:::')
    expect(toHost(map, 'trusted.a')).toBe('user.virtiofs.trusted.a')
    expect(toHost(map, 'user.a')).toBe('user.a')
    expect(fromHost(map, 'user.virtiofs.trusted.a', 'user.b')).toEqual(['trusted.a', 'user.b'])
    expect(fromHost(map, 'user.virtiofs.')).toEqual([])
  })

  test('scopes', () => {
    const client = new XattrMap(':prefix:client:a.:b.::ok:all:::')
    expect(toHost(client, 'a.x')).toBe('b.a.x')
    expect(fromHost(client, 'b.a.x')).toEqual(['b.a.x'])
    const server = new XattrMap(':prefix:server:a.:b.::ok:all:::')
    expect(toHost(server, 'a.x')).toBe('a.x')
    expect(fromHost(server, 'b.a.x')).toEqual(['a.x'])
  })

  test('bad and unsupported', () => {
    const map = new XattrMap(
      '/bad/all/security./security./ /unsupported/all/system./system./ /ok/client/user.// /ok/server///',
    )
    expect(toHost(map, 'security.selinux')).toBe(-Errno.EPERM)
    expect(toHost(map, 'system.x')).toBe(-Errno.EOPNOTSUPP)
    expect(toHost(map, 'user.x')).toBe('user.x')
    // No rule.
    expect(toHost(map, 'trusted.x')).toBe(-Errno.EPERM)
    expect(fromHost(map, 'security.selinux', 'system.x', 'user.x')).toEqual(['user.x'])
  })

  test('the first rule that matches counts', () => {
    const map = new XattrMap(':ok:all:user.keep:user.keep::bad:all:::')
    expect([toHost(map, 'user.keep.x'), toHost(map, 'user.x')]).toEqual(['user.keep.x', -Errno.EPERM])
  })
})

describe('map', () => {
  const longForms: [map: string, rules: string][] = [
    [':map::user.virtiofs.:', ':prefix:all::user.virtiofs.::bad:all:::'],
    [
      '/map/trusted./user.virtiofs./',
      '/prefix/all/trusted./user.virtiofs./\n/bad/server//trusted./\n/bad/client/user.virtiofs.//\n/ok/all///',
    ],
  ]
  test.each(longForms)('%s is the same as %s', (map, rules) => {
    const short = new XattrMap(map)
    const long = new XattrMap(rules)
    const name = fc
      .tuple(fc.constantFrom('', 'user.', 'trusted.', 'user.virtiofs.', 'user.virtiofs.trusted.'), fc.string())
      .map((parts) => parts.join('').replaceAll('\0', ''))
      .filter((text) => text !== '')
    fc.assert(
      fc.property(name, (text) => {
        expect(toHost(short, text)).toEqual(toHost(long, text))
        expect(fromHost(short, text)).toEqual(fromHost(long, text))
      }),
    )
  })

  test('what the guest sets, it lists again, and the host sees only below the prefix', () => {
    const map = new XattrMap(':map::user.virtiofs.:')
    const name = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !text.includes('\0'))
    fc.assert(
      fc.property(fc.array(name), (names) => {
        const host = names.map((text) => toHost(map, text)).filter((text) => typeof text === 'string')
        expect(host.every((text) => text.startsWith('user.virtiofs.'))).toBe(true)
        expect(fromHost(map, ...host)).toEqual(names)
      }),
    )
  })
})

test.each([
  ['', 'no rule'],
  ['  \n', 'no rule'],
  [':prefix:all:a:b', 'rule 1 does not end'],
  [':prefix:some:a:b:', '"some"'],
  [':suffix:all:a:b:', '"suffix"'],
  [':ok:all::: :bad:all::', 'rule 2 does not end'],
  [':map:a:b: :ok:all:::', 'must be the last'],
  [':map:a:b: :map:a:b:', 'must be the last'],
  ['ok:all:::', 'rule 1'],
])('refuses %j', (text, message) => {
  expect(() => new XattrMap(text)).toThrow(message)
})

test('never throws on lists or names, whatever the rules', () => {
  const field = fc.constantFrom('', 'user.', 'trusted.', 'a')
  const rule = fc
    .tuple(
      fc.constantFrom('prefix', 'ok', 'bad', 'unsupported'),
      fc.constantFrom('all', 'client', 'server'),
      field,
      field,
    )
    .map((parts) => `:${parts.join(':')}:`)
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1 }), fc.uint8Array(), fc.string({ minLength: 1 }), (rules, list, name) => {
      const map = new XattrMap(rules.join('\n'))
      const length = map.listFromHost(list)
      expect(length).toBeLessThanOrEqual(list.length)
      if (length > 0) expect(list[length - 1]).toBe(0)
      if (!name.includes('\0')) toHost(map, name)
    }),
  )
})
