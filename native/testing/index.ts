// SPDX-License-Identifier: Apache-2.0
/**
 * The addon of the tests and fuzzers: the product's and what they need besides. The daemon never loads it. Whoever needs it for what
 * both know (shared directories, by number) runs with `node --conditions=testing`, so that native/index.ts loads it, too.
 */
import { createRequire } from 'node:module'
import type { TestingCounts } from './counts.ts'
import type { TestingFrontend } from './frontend.ts'
import type { MessageServerConstructor } from './message-server.ts'
import type { TestingMappedRangesConstructor, TestingRangesConstructor } from './ranges.ts'
import type { TestingRecordsConstructor } from './records.ts'

interface TestingAddon {
  readonly testing: TestingFrontend
  readonly counts: TestingCounts
  readonly TestingRanges: TestingRangesConstructor
  readonly TestingMappedRanges: TestingMappedRangesConstructor
  readonly MessageServer: MessageServerConstructor
  readonly TestingRecords: TestingRecordsConstructor
  readonly ringResult: (allowed: number, opcode: number) => number
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the addon exports is declared here, not inferred
const addon = createRequire(import.meta.url)('#testing-addon') as TestingAddon

/** What plays a vhost-user frontend and a virtio driver; see frontend.ts. */
export const testing = addon.testing
/** See counts.ts. */
export const counts = addon.counts
/** See ranges.ts. */
export const TestingRanges = addon.TestingRanges
export const TestingMappedRanges = addon.TestingMappedRanges
/** See message-server.ts. */
export const MessageServer = addon.MessageServer
export type MessageServer = InstanceType<MessageServerConstructor>
/** See records.ts. */
export const TestingRecords = addon.TestingRecords
/** What a ring that is restricted to one IORING_OP_* answers to another, without a descriptor: an errno's negative, or 0. */
export const ringResult = addon.ringResult
