// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const REPOSITORY = resolve(import.meta.dirname, '../..')
/** Tests, and what only they load. */
const OF_TESTS = /\.test\.ts$|(^|\/)(testing|integration|fuzz)(\/|\.ts$)/

/** The names that an addon gives to JavaScript, those of its objects and classes included. */
function namesOf(addon: object): string[] {
  return Object.entries(addon).flatMap(([name, value]: [string, unknown]) => {
    // A class for every user of the device, described in doc/memory-view.md.
    if (name === 'MemoryView') return [name]
    if (typeof value === 'object' && value !== null) return [name, ...Object.keys(value)]
    if (typeof value !== 'function') return [name]
    const members: unknown = value.prototype
    return [name, ...(typeof members === 'object' && members !== null ? Object.getOwnPropertyNames(members) : [])]
  })
}

test("the product uses whatever the product's addon exports", () => {
  const product: unknown = createRequire(import.meta.url)(join(REPOSITORY, 'native/build/viewfsd.node'))
  if (typeof product !== 'object' || product === null) throw new Error('no addon')
  const files = readdirSync(join(REPOSITORY, 'server'), { recursive: true, encoding: 'utf8' })
  const sources = files.filter((file) => file.endsWith('.ts') && !OF_TESTS.test(file))
  const text = sources.map((file) => readFileSync(join(REPOSITORY, 'server', file), 'utf8')).join('\n')
  const names = namesOf(product).filter((name) => name !== 'constructor')
  expect(names).toContain('requestStop')
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
})
