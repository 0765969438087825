// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { output } from '../rig/command.ts'
import { debianVersion, source, type Source } from './source.ts'

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

test('program, driver and DKMS have one version, by semantic versioning, and the changelog knows it', () => {
  const { version } = source()
  expect(version).toMatch(/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?$/)
  expect(read('kernel/main.c')).toContain(`MODULE_VERSION("${version}")`)
  expect(read('kernel/dkms.conf')).toContain(`PACKAGE_VERSION="${version}"`)
  expect(read('CHANGELOG.md')).toMatch(/^## (Unreleased|\d+\.\d+\.\d+)/m)
})
