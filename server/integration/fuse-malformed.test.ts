// SPDX-License-Identifier: Apache-2.0
/** Requests that no kernel sends: each gets an error, and the next one works. */
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { RequestOptions } from './harness/fuse-transport.ts'
import { outcome, startSession } from './harness/session.ts'
import { pack } from './harness/wire.ts'

/** Size of the fixed arguments of each opcode that has any. */
const ARGUMENT_BYTES: readonly (readonly [name: keyof typeof Opcode, length: number])[] = [
  ['SETATTR', 88],
  ['MKNOD', 16],
  ['MKDIR', 8],
  ['RENAME', 8],
  ['LINK', 8],
  ['OPEN', 8],
  ['READ', 40],
  ['WRITE', 40],
  ['RELEASE', 24],
  ['FSYNC', 16],
  ['SETXATTR', 8],
  ['GETXATTR', 8],
  ['LISTXATTR', 8],
  ['FLUSH', 24],
  ['INIT', 16],
  ['OPENDIR', 8],
  ['READDIR', 40],
  ['RELEASEDIR', 24],
  ['FSYNCDIR', 16],
  ['ACCESS', 8],
  ['CREATE', 16],
  ['FALLOCATE', 32],
  ['READDIRPLUS', 40],
  ['RENAME2', 16],
  ['LSEEK', 24],
  ['COPY_FILE_RANGE', 56],
  ['SETUPMAPPING', 40],
  ['REMOVEMAPPING', 4],
  ['TMPFILE', 16],
  ['STATX', 24],
  ['COPY_FILE_RANGE_64', 56],
]

test.skipIf(REFERENCE !== undefined)('refuses every opcode whose arguments are cut', async () => {
  const { client, transport } = await startSession()
  for (const [name, length] of ARGUMENT_BYTES) {
    const opcode = Opcode[name]
    for (const cut of [0, 1, length - 1]) {
      const options: RequestOptions = { replyBytes: 300 }
      expect(
        outcome(() => transport.call(opcode, ROOT_ID, new Uint8Array(cut), options)),
        `${name} with ${cut} bytes`,
      ).not.toBe('ok')
    }
  }
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('answers ENOSYS to what it does not know', async () => {
  const { client, transport } = await startSession()
  for (const opcode of [0, 7, 19, 54, 100, 4096, 0xffff_ffff, Opcode.POLL, Opcode.BMAP]) {
    expect(
      outcome(() => transport.call(opcode, ROOT_ID, new Uint8Array(64), { replyBytes: 64 })),
      `opcode ${opcode}`,
    ).toBe('ENOSYS')
  }
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('refuses a header whose length is not that of the request', async () => {
  const { client, transport } = await startSession()
  const args = pack(['u32', 0], ['u32', 0], ['u64', 0])
  for (const headerLength of [0, 39, 40, 55, 57, 4096, 0xffff_ffff]) {
    expect(
      outcome(() => transport.call(Opcode.GETATTR, ROOT_ID, args, { replyBytes: 104, headerLength })),
      `length ${headerLength}`,
    ).not.toBe('ok')
  }
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('never writes beyond the room for a reply', async () => {
  const { client, transport } = await startSession()
  const args = pack(['u32', 0], ['u32', 0], ['u64', 0])
  for (const replyBytes of [0, 1, 103]) {
    expect(outcome(() => transport.call(Opcode.GETATTR, ROOT_ID, args, { replyBytes }))).not.toBe('ok')
  }
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, new Uint8Array(5000).fill(1))
  // A READ whose size is more than the chain has room for gives what fits, or an error.
  const read = pack(['u64', fh], ['u64', 0], ['u32', 5000], ['u32', 0], new Uint8Array(16))
  const pending = transport.submit(Opcode.READ, entry.nodeid, read, { dataRoom: 1000 })
  transport.waitFor(() => pending.done, 'READ')
  expect(pending.usedLength).toBeLessThanOrEqual(1016)
  expect(client.getattr(entry.nodeid).size).toBe(5000)
})

test.skipIf(REFERENCE !== undefined)('refuses a WRITE whose size is not that of its data', async () => {
  const { client, transport } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  const write = pack(['u64', fh], ['u64', 0], ['u32', 5000], ['u32', 0], new Uint8Array(16))
  const options: RequestOptions = { data: new Uint8Array(100).fill(7), replyBytes: 8 }
  expect(outcome(() => transport.call(Opcode.WRITE, entry.nodeid, write, options))).not.toBe('ok')
  expect(client.getattr(entry.nodeid).size).toBe(0)
  const negative = pack(['u64', fh], ['u64', -5n], ['u32', 100], ['u32', 0], new Uint8Array(16))
  expect(outcome(() => transport.call(Opcode.WRITE, entry.nodeid, negative, options))).not.toBe('ok')
  expect(client.getattr(entry.nodeid).size).toBe(0)
})

test.skipIf(REFERENCE !== undefined)('takes offsets at the edge of 63 bits for what they are', async () => {
  const { client, transport } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  for (const offset of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const read = pack(['u64', fh], ['u64', offset], ['u32', 10], ['u32', 0], new Uint8Array(16))
    const pending = transport.submit(Opcode.READ, entry.nodeid, read, { dataRoom: 10 })
    transport.waitFor(() => pending.done, 'READ')
    expect(pending.body).toHaveLength(0)
    const allocate = pack(['u64', fh], ['u64', offset], ['u64', 2n ** 62n], ['u32', 0], ['u32', 0])
    expect(outcome(() => transport.call(Opcode.FALLOCATE, entry.nodeid, allocate))).not.toBe('ok')
  }
  expect(client.getattr(entry.nodeid).size).toBe(0)
})
