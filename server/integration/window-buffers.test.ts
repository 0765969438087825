// SPDX-License-Identifier: Apache-2.0
/**
 * Requests whose data lies in the window itself: an application of the guest writes a file from an mmapped DAX file, or
 * reads into one. What can't be accessed fails that request, and nothing else.
 */
import { constants, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import type { Segment } from './harness/guest-memory.ts'
import { outcome } from './harness/session.ts'
import { WINDOW_GPA } from './harness/shared-memory-window.ts'
import { hostBytes, makeFile, RANGE, READ, stamped, startWindowSession, WRITE } from './harness/window-session.ts'

/** Pages of the window as data segments. */
function inWindow(moffset: number, length: number): Segment[] {
  return [{ gpa: WINDOW_GPA + moffset, length }]
}

test('writes a file from a mapped one', async () => {
  const session = await startWindowSession()
  const { client, memory } = session
  const source = makeFile(session, 'source', RANGE, 3)
  client.setupMapping(source, 0, RANGE, READ, 6 * RANGE)
  const { entry, fh } = client.create(ROOT_ID, 'target', 2)
  expect(client.write(entry.nodeid, fh, 0, inWindow(6 * RANGE + 8192, 65_536))).toBe(65_536)
  expect(Buffer.compare(hostBytes(session, 'target'), stamped(RANGE, 3).subarray(8192, 73_728))).toBe(0)
  // Mixed with ordinary memory.
  const page = { gpa: memory.allocate(4096), length: 4096 }
  memory.bytes(page.gpa, 4096).fill(0x5a)
  expect(client.write(entry.nodeid, fh, 0, [page, ...inWindow(6 * RANGE, 4096), page])).toBe(12_288)
  expect(hostBytes(session, 'target').subarray(4096, 8192)).toEqual(stamped(4096, 3))
  expect(hostBytes(session, 'target')[8192]).toBe(0x5a)
})

test('writes a file from its own mapping, and by O_DIRECT', async () => {
  const session = await startWindowSession()
  const { client } = session
  const nodeid = makeFile(session, 'file', RANGE, 3)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  const fh = client.open(nodeid, 2)
  expect(client.write(nodeid, fh, 1 << 20, inWindow(0, 8192))).toBe(8192)
  expect(hostBytes(session, 'file').subarray(1 << 20, (1 << 20) + 8192)).toEqual(stamped(8192, 3))
  const direct = outcome(() => client.open(nodeid, 2 | constants.O_DIRECT))
  expect(['ok', 'EINVAL']).toContain(direct)
  if (direct === 'ok') {
    const directFh = client.open(nodeid, 2 | constants.O_DIRECT)
    expect(client.write(nodeid, directFh, 16_384, inWindow(4096, 4096))).toBe(4096)
    expect(hostBytes(session, 'file').subarray(16_384, 20_480)).toEqual(stamped(8192, 3).subarray(4096))
  }
})

test('reads a file into a mapped one', async () => {
  const session = await startWindowSession()
  const { client, transport, window } = session
  const source = makeFile(session, 'source', RANGE, 8)
  const target = makeFile(session, 'target', RANGE, 9)
  client.setupMapping(target, 0, RANGE, READ | WRITE, 3 * RANGE)
  const fh = client.open(source, 0)
  const pending = client.startRead(source, fh, 4096, 65_536, inWindow(3 * RANGE + 12_288, 65_536))
  transport.wait(pending)
  expect(pending.usedLength).toBe(65_552)
  const wanted = stamped(RANGE, 8).subarray(4096, 69_632)
  expect(Buffer.compare(hostBytes(session, 'target').subarray(12_288, 77_824), wanted)).toBe(0)
  expect(window.read(3 * RANGE + 12_288, 64)).toEqual(new Uint8Array(wanted.subarray(0, 64)))
})

test('fails a request alone whose data lies where nothing is mapped', async () => {
  const session = await startWindowSession()
  const { client } = session
  const nodeid = makeFile(session, 'file', RANGE, 3)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  const { entry, fh } = client.create(ROOT_ID, 'target', 2)
  const file = client.open(nodeid, 0)
  for (const moffset of [RANGE, 100 * RANGE, 511 * RANGE]) {
    expect(outcome(() => client.write(entry.nodeid, fh, 0, inWindow(moffset, 4096)))).toBe('EFAULT')
    expect(outcome(() => client.read(nodeid, file, 0, 4096, inWindow(moffset, 4096)))).toBe('EFAULT')
  }
  expect(hostBytes(session, 'target')).toHaveLength(0)
  client.removeMapping(nodeid, [{ moffset: 0, length: RANGE }])
  expect(outcome(() => client.write(entry.nodeid, fh, 0, inWindow(0, 4096)))).toBe('EFAULT')
  expect(client.write(entry.nodeid, fh, 0, Buffer.from('fine'))).toBe(4)
})

test('fails a request alone whose data lies in what was truncated', async () => {
  const session = await startWindowSession()
  const { client, daemon } = session
  const nodeid = makeFile(session, 'file', RANGE, 3)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  const { entry, fh } = client.create(ROOT_ID, 'target', 2)
  expect(client.write(entry.nodeid, fh, 0, inWindow(1 << 20, 4096))).toBe(4096)
  truncateSync(join(daemon.sharedDir, 'file'), 8192)
  for (let i = 0; i < 3; i++) {
    expect(outcome(() => client.write(entry.nodeid, fh, 0, inWindow(1 << 20, 4096)))).toBe('EFAULT')
    expect(outcome(() => client.read(entry.nodeid, fh, 0, 4096, inWindow(1 << 20, 4096)))).toBe('EFAULT')
  }
  expect(client.write(entry.nodeid, fh, 0, inWindow(4096, 4096))).toBe(4096)
  expect(daemon.alive).toBe(true)
})

test('never writes where the window is read-only', async () => {
  const session = await startWindowSession({ args: ['--readonly'] })
  const { client } = session
  const nodeid = makeFile(session, 'file', RANGE, 3)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  const fh = client.open(nodeid, 0)
  for (let i = 0; i < 3; i++) {
    expect(outcome(() => client.read(nodeid, fh, 8192, 4096, inWindow(0, 4096)))).toBe('EFAULT')
  }
  expect(hostBytes(session, 'file').subarray(0, 4096)).toEqual(stamped(4096, 3))
  expect(client.read(nodeid, fh, 0, 4096)).toEqual(stamped(4096, 3))
})
