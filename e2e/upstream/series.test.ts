// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const checkout = join(import.meta.dirname, '../..')
const folder = join(checkout, 'kernel/upstream')

function lines(name: string): string[] {
  const text = readFileSync(join(folder, name), 'utf8')
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

describe('the series for Linux', () => {
  const patches = lines('series')

  test('is all patches that are there, in the order of their numbers', () => {
    const there = readdirSync(folder).filter((name) => /^\d{4}-.*\.patch$/.test(name) && !name.startsWith('0000-'))
    expect(patches).toEqual(there.toSorted())
    for (const [i, name] of patches.entries()) {
      const subject = readFileSync(join(folder, name), 'utf8').match(/^Subject: \[RFC PATCH (\d+)\/(\d+)\]/m)
      expect(subject?.slice(1), name).toEqual([String(i + 1), String(patches.length)])
    }
    expect(readFileSync(join(folder, '0000-cover-letter.patch'), 'utf8')).toContain(`[RFC PATCH 0/${patches.length}]`)
  })

  test('differs from the driver only in selftests that there are, each with a reason', () => {
    const differences = lines('differences.txt')
    expect(differences.length).toBeGreaterThan(0)
    for (const line of differences) {
      const [, program, name, reason] = /^(\S+) (\S+) (.+)$/.exec(line) ?? []
      const source = readFileSync(join(checkout, 'kernel/selftests', `${program}.c`), 'utf8')
      expect(source, line).toMatch(new RegExp(`^TEST\\w*\\(${name}[,)]`, 'm'))
      expect(reason, line).toMatch(/\w{3}/)
    }
  })
})
