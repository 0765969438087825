// SPDX-License-Identifier: Apache-2.0
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { testing, TestingRanges } from '../testing/index.ts'

test("what the tests need is in their own addon, not in the product's", () => {
  const product: unknown = createRequire(import.meta.url)('#native-addon')
  expect(Object.keys(product ?? {})).toContain('DeviceControl')
  expect(Object.keys(product ?? {}).filter((name) => /test/i.test(name))).toEqual([])
  expect([typeof testing, typeof TestingRanges]).toEqual(['object', 'function'])
})
