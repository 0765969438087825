// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { kernelPackages, newestKernel } from './packages.ts'

const NAMES = [
  'linux-image-6.12.107+deb13-cloud-amd64',
  'linux-image-6.12.117+deb13-cloud-amd64',
  'linux-image-6.12.99+deb13-cloud-amd64',
  'linux-image-6.12.200+deb13-amd64',
  'linux-image-6.16.12+deb13-cloud-amd64',
  'linux-binary-7.3.4+deb13-cloud-amd64',
  'linux-binary-unsigned-7.3.9+deb13-cloud-amd64',
]

test('takes the highest cloud kernel of a series, by number', () => {
  expect(newestKernel('6.12', NAMES)).toBe('6.12.117+deb13-cloud-amd64')
  expect(newestKernel('7.3', NAMES)).toBe('7.3.4+deb13-cloud-amd64')
  expect(newestKernel('7.3', NAMES.slice(0, 3))).toBeUndefined()
})

test('knows how each series is packaged', () => {
  expect(kernelPackages('6.12', '6.12.117+deb13-cloud-amd64')).toContain('linux-headers-6.12.117+deb13-common')
  expect(kernelPackages('7.3', '7.3.4+deb13-cloud-amd64')).toContain('linux-modules-7.3.4+deb13-cloud-amd64')
})
