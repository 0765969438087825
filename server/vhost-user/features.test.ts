// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { hasFeature, missingWindowFeatures, OFFERED_VIRTIO_FEATURES, offeredProtocolFeatures } from './features.ts'

test('the virtio features are VERSION_1, INDIRECT_DESC, EVENT_IDX and the protocol bit', () => {
  expect(OFFERED_VIRTIO_FEATURES).toBe(0x1_7000_0000n)
})

test('SHMEM is bit 22, and only there with a window', () => {
  expect(hasFeature(offeredProtocolFeatures({ window: true, memorySlots: false, config: true }), 22)).toBe(true)
  expect(hasFeature(offeredProtocolFeatures({ window: false, memorySlots: false, config: true }), 22)).toBe(false)
})

test('memory slots are only offered where they were asked for', () => {
  expect(hasFeature(offeredProtocolFeatures({ window: true, memorySlots: false, config: true }), 15)).toBe(false)
  expect(hasFeature(offeredProtocolFeatures({ window: true, memorySlots: true, config: true }), 15)).toBe(true)
})

test('tells what a frontend lacks for a window', () => {
  const all = offeredProtocolFeatures({ window: true, memorySlots: false, config: true })
  expect(missingWindowFeatures(all)).toEqual([])
  expect(missingWindowFeatures(all & ~(1n << 22n) & ~(1n << 3n))).toEqual(['SHMEM', 'REPLY_ACK'])
})

test('the configuration space is only offered where there is a tag', () => {
  expect(hasFeature(offeredProtocolFeatures({ window: false, memorySlots: false, config: true }), 9)).toBe(true)
  expect(hasFeature(offeredProtocolFeatures({ window: false, memorySlots: false, config: false }), 9)).toBe(false)
})
