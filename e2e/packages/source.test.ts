// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { output } from '../rig/command.ts'
import { debianChangelog, debianVersion, source, type Source } from './source.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const commit: Source = { files: [], version: '0.2.0', commit: '0123456789ab', epoch: 1_764_400_000, released: false }

test('a snapshot is older than its release, and newer than the one before', () => {
  const later = { ...commit, epoch: commit.epoch + 1 }
  const inOrder = [
    '0.1.9',
    debianVersion(commit, 'deb12u1'),
    debianVersion(commit),
    debianVersion({ ...commit, commit: '0123456789ab-dirty' }),
    debianVersion(later, 'deb12u1'),
    debianVersion(later),
    debianVersion({ ...commit, released: true }, 'deb12u1'),
    debianVersion({ ...commit, released: true }),
    '0.2.1~rc.1',
  ]
  expect(inOrder).toContain('0.2.0')
  expect(debianVersion({ ...commit, version: '0.2.1-rc.1', released: true })).toBe('0.2.1~rc.1')
  for (const [index, version] of inOrder.slice(1).entries()) {
    output(['dpkg', '--compare-versions', inOrder[index] ?? '', 'lt', version])
  }
})

test('program, driver, DKMS, packages and documents have one version, by semantic versioning', () => {
  const from = source()
  const { version } = from
  expect(version).toMatch(/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?$/)
  expect(read('kernel/main.c')).toContain(`MODULE_VERSION("${version}")`)
  expect(read('kernel/dkms.conf')).toContain(`PACKAGE_VERSION="${version}"`)
  const pages = readdirSync(new URL('../../doc', import.meta.url)).filter((name) => name.endsWith('.md'))
  const named = pages.flatMap((page) =>
    [...read(`doc/${page}`).matchAll(/memory-view[-/](\d+\.[\w.]*\w)/g)].map(([, each]) => each),
  )
  expect(new Set(named)).toEqual(new Set([version]))
  expect(read('package-lock.json').match(/"version": "([^"]+)"/)?.[1]).toBe(version)
  expect(debianChangelog(from)).toMatch(
    new RegExp(`^viewfsd \\(${version}[~)].*\n\n.*\n\n -- viewfsd maintainers <.*> {2}\\w{3}, `),
  )
})

test('the changelog begins with this version, and has a date once that is released', () => {
  const { version, released } = source()
  const [, first, when] = /^## (\S+), (.*)$/m.exec(read('CHANGELOG.md')) ?? []
  expect(first).toBe(version)
  expect(when).toMatch(released ? /^\d+ [A-Z]\w+ 20\d\d$/ : /^(not released yet|\d+ [A-Z]\w+ 20\d\d)$/)
})
