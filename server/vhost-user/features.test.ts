// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import {
  hasFeature,
  lacksMemorySlots,
  missingWindowFeatures,
  OFFERED_VIRTIO_FEATURES,
  type OfferedParts,
  offeredProtocolFeatures,
} from './features.ts'

const PARTS: OfferedParts = { window: 'none', memorySlots: 'auto', config: false, deviceState: false }
const offered = (parts: Partial<OfferedParts>): bigint => offeredProtocolFeatures({ ...PARTS, ...parts })

test('the virtio features are VERSION_1, LOG_ALL, INDIRECT_DESC, EVENT_IDX and the protocol bit', () => {
  expect(OFFERED_VIRTIO_FEATURES).toBe(0x1_7400_0000n)
})

test('SHMEM is bit 22, and only there with a window', () => {
  expect(hasFeature(offered({ window: 'memory-view' }), 22)).toBe(true)
  expect(hasFeature(offered({ window: 'shmem' }), 22)).toBe(true)
  expect(hasFeature(offered({ window: 'none' }), 22)).toBe(false)
})

test.each([
  // Without a configuration space this is vhost-user-fs, whatever window there might be.
  { window: 'none', config: false, auto: true },
  { window: 'memory-view', config: false, auto: true },
  // QEMU's test device crashes with memory slots and a view.
  { window: 'memory-view', config: true, auto: false },
  { window: 'none', config: true, auto: true },
  { window: 'shmem', config: true, auto: true },
] as const)('memory slots: $auto with window $window and a configuration space $config', ({ window, config, auto }) => {
  expect(hasFeature(offered({ window, config }), 15)).toBe(auto)
  expect(hasFeature(offered({ window, config, memorySlots: 'on' }), 15)).toBe(true)
  expect(hasFeature(offered({ window, config, memorySlots: 'off' }), 15)).toBe(false)
})

test('tells a frontend that has got no memory slots for nothing', () => {
  const parts: OfferedParts = { window: 'memory-view', memorySlots: 'auto', config: true, deviceState: false }
  const all = offeredProtocolFeatures(parts)
  expect(lacksMemorySlots(parts, all)).toBe(false)
  expect(lacksMemorySlots(parts, all & ~(1n << 9n))).toBe(true)
  expect(lacksMemorySlots({ ...parts, memorySlots: 'off' }, 0n)).toBe(false)
  expect(lacksMemorySlots({ ...parts, config: false }, 0n)).toBe(false)
})

test('tells what a frontend lacks for a window', () => {
  const all = offered({ window: 'memory-view', config: true })
  expect(missingWindowFeatures(all)).toEqual([])
  expect(missingWindowFeatures(all & ~(1n << 22n) & ~(1n << 3n))).toEqual(['SHMEM', 'REPLY_ACK'])
})

test('the configuration space is only offered where there is a tag', () => {
  expect(hasFeature(offered({ config: true }), 9)).toBe(true)
  expect(hasFeature(offered({ config: false }), 9)).toBe(false)
})

test('the state of the device is bit 19, and the log for what it writes bit 1', () => {
  expect(hasFeature(offered({}), 1)).toBe(true)
  expect(hasFeature(offered({ deviceState: true }), 19)).toBe(true)
  expect(hasFeature(offered({ deviceState: false }), 19)).toBe(false)
})
