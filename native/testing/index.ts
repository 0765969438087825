// SPDX-License-Identifier: Apache-2.0
/** The addon of the tests and fuzzers: what they need beside the product's own. The daemon never loads it. */
import { createRequire } from 'node:module'
import type { TestingFrontend } from './frontend.ts'
import type { TestingRangesConstructor } from './ranges.ts'

interface TestingAddon {
  readonly testing: TestingFrontend
  readonly TestingRanges: TestingRangesConstructor
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the addon exports is declared here, not inferred
const addon = createRequire(import.meta.url)('#testing-addon') as TestingAddon

/** What plays a vhost-user frontend and a virtio driver; see frontend.ts. */
export const testing = addon.testing
/** See ranges.ts. */
export const TestingRanges = addon.TestingRanges
