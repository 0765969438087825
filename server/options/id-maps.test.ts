// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { parseModcaps } from './capabilities.ts'
import { checkTranslations, parseIdMap, parseTranslation } from './id-maps.ts'

function check(...rules: string[]): void {
  checkTranslations(rules.map(parseTranslation))
}

describe('maps of a user namespace', () => {
  test.each([
    [':0:100000:65536:', { inside: 0, outside: 100000, count: 65536 }],
    [',1,2,3,', { inside: 1, outside: 2, count: 3 }],
  ])('%s', (text, map) => expect(parseIdMap(text)).toEqual(map))

  test.each(['', ':', '::', ':0:0:1', '0:0:1', ':0:0:1:2:', ':0:x:1:', ':0:0:4294967296:', ',0:0:1,', ':0::1:'])(
    'refuses "%s"',
    (text) => expect(() => parseIdMap(text)).toThrow(/must be :NAMESPACE|is not a number/),
  )
})

describe('translations', () => {
  test.each([
    ['map:0:1000:5', { kind: 'map', from: 0, to: 1000, count: 5 }],
    ['squash-guest:0:1:5', { kind: 'squash-guest', from: 0, to: 1, count: 5 }],
    ['forbid-guest:7:5', { kind: 'forbid-guest', from: 7, to: 0, count: 5 }],
  ])('%s', (text, rule) => expect(parseTranslation(text)).toEqual(rule))

  test.each(['', 'map', 'map:0:1', 'map:0:1:2:3', 'forbid-guest:0:1:5', 'foo:0:1:2', 'host:0:1:-1', 'host:0::1'])(
    'refuses "%s"',
    (text) => expect(() => parseTranslation(text)).toThrow(/must (be|begin)|is not a number/),
  )

  test('may not overlap in one direction', () => {
    expect(() => check('map:0:100:10', 'map:10:200:10', 'squash-host:0:5:100')).not.toThrow()
    expect(() => check('map:0:5:10', 'map:5:100:10')).toThrow(/map:5:100:10: its range overlaps that of map:0:5:10/)
    expect(() => check('map:0:100:10', 'host:105:0:1')).toThrow(/overlaps/)
    expect(() => check('forbid-guest:0:10', 'guest:9:0:1')).toThrow(/overlaps/)
    expect(() => check('map:0:100:0', 'map:0:100:1')).not.toThrow()
  })

  test('may not end above the last id', () => {
    expect(() => check('guest:0:1:4294967295')).not.toThrow()
    expect(() => check('guest:1:1:4294967295')).toThrow(/above the last id/)
    expect(() => check('guest:0:2:4294967295')).toThrow(/above the last id/)
  })
})

test('changes of capabilities', () => {
  expect(parseModcaps('+sys_admin:-CHOWN')).toEqual([
    { keep: true, capability: 'sys_admin' },
    { keep: false, capability: 'chown' },
  ])
  for (const text of ['', 'chown', '+foo', '-chown:']) {
    expect(() => parseModcaps(text)).toThrow(/must be \+NAME|no capability/)
  }
})
