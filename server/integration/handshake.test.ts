// SPDX-License-Identifier: Apache-2.0
/** What QEMU's two devices ask before the guest runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { connectFrontend, startDaemon, startSession } from './harness/session.ts'
import { Feature, packU64, ProtocolFeature, Request } from './harness/vhost-user.ts'
import { Unpacker } from './harness/wire.ts'

test.each(['test-device', 'fs-pci'] as const)('serves a guest behind %s', async (device) => {
  const session = await startSession({ device })
  writeFileSync(join(session.daemon.sharedDir, 'hello'), 'hello')
  const { nodeid } = session.client.lookup(ROOT_ID, 'hello')
  const fh = session.client.open(nodeid, 0)
  expect(session.client.read(nodeid, fh, 0, 100)).toEqual(Buffer.from('hello'))
})

test('offers the features that QEMU and Linux use', async () => {
  const frontend = await connectFrontend(startDaemon())
  for (const feature of Object.values(Feature)) {
    expect(frontend.offeredFeatures & feature).toBe(feature)
  }
  for (const name of ['MQ', 'REPLY_ACK', 'BACKEND_REQ', 'BACKEND_SEND_FD', 'CONFIG', 'RESET_DEVICE'] as const) {
    expect(frontend.offeredProtocolFeatures & ProtocolFeature[name], name).toBe(ProtocolFeature[name])
  }
})

test.skipIf(REFERENCE !== undefined)('has a hiprio queue and several request queues', async () => {
  const daemon = startDaemon({ args: ['--num-request-queues=5', '--keep-listening'] })
  for (const queues of [2, 4, 6]) {
    const frontend = await connectFrontend(daemon, { queues })
    // The most that there may be, and as many as the frontend's device has.
    expect(frontend.queueCount).toBe(6)
    expect(new Unpacker(frontend.getConfig(36, 4)).u32()).toBe(queues - 1)
    frontend.close()
  }
})

test('keeps tag and number of queues in the configuration space', async () => {
  const daemon = startDaemon({ tag: 'a-tag' })
  const frontend = await connectFrontend(daemon)
  // struct virtio_fs_config { u8 tag[36]; le32 num_request_queues; }, and QEMU asks with config_size=40.
  const config = frontend.getConfig(0, 40)
  expect(Buffer.from(config.subarray(0, 36)).toString()).toBe('a-tag'.padEnd(36, '\0'))
  expect(new Unpacker(config.subarray(36)).u32()).toBe(1)
  expect(Buffer.from(frontend.getConfig(2, 3)).toString()).toBe('tag')
})

test('carries a tag of 36 bytes, which has no NUL', async () => {
  const tag = 'x'.repeat(36)
  const frontend = await connectFrontend(startDaemon({ tag }))
  expect(Buffer.from(frontend.getConfig(0, 40).subarray(0, 36)).toString()).toBe(tag)
})

test.skipIf(REFERENCE !== undefined)('refuses reads of the configuration space that reach too far', async () => {
  const frontend = await connectFrontend(startDaemon())
  // A reply of size 0 says so, as the specification has it.
  for (const [offset, size] of [
    [0, 257],
    [300, 4],
    [0xffff_fffc, 8],
  ] as const) {
    expect(frontend.getConfig(offset, size).length).toBe(0)
  }
  expect(frontend.getConfig(0, 40)).toHaveLength(40)
})

test.skipIf(REFERENCE !== undefined)('refuses features that it did not offer', async () => {
  const frontend = await connectFrontend(startDaemon())
  expect(frontend.acknowledged(Request.SET_FEATURES, packU64(frontend.offeredFeatures | (1n << 60n)))).not.toBe(0n)
  expect(frontend.acknowledged(Request.SET_FEATURES, packU64(frontend.negotiable()))).toBe(0n)
})

test('works without any optional feature', async () => {
  const session = await startSession({ features: Feature.VERSION_1, protocolFeatures: ProtocolFeature.MQ })
  session.client.create(ROOT_ID, 'file', 2)
  expect(session.client.lookup(ROOT_ID, 'file').attr.nlink).toBe(1)
})
