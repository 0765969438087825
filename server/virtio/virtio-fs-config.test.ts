// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { encodeVirtioFsConfig, readConfig } from './virtio-fs-config.ts'

test('has the tag, padded with NULs, and the number of request queues', () => {
  const config = encodeVirtioFsConfig('myfs', 3)
  expect(config.length).toBe(40)
  expect(Buffer.from(config).toString('hex')).toBe(`6d796673${'00'.repeat(32)}03000000`)
})

test('reads any part, and zeros beyond the end', () => {
  const config = encodeVirtioFsConfig('abc', 1)
  expect(Buffer.from(readConfig(config, 1, 2)).toString()).toBe('bc')
  expect([...readConfig(config, 36, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0])
  expect([...readConfig(config, 100, 2)]).toEqual([0, 0])
})
