// SPDX-License-Identifier: Apache-2.0
/** INIT and DESTROY: what is negotiated, and that a session can begin again. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { InitFlag, Opcode } from './harness/fuse-abi.ts'
import { GUEST_INIT_FLAGS } from './harness/fuse-client.ts'
import { outcome, startSession } from './harness/session.ts'

test('negotiates what a Linux guest needs', async () => {
  const { initReply } = await startSession()
  expect(initReply?.major).toBe(7)
  expect(initReply?.minor).toBeGreaterThanOrEqual(38)
  expect(initReply?.maxWrite).toBeGreaterThanOrEqual(1 << 20)
  expect(initReply?.maxPages).toBeGreaterThanOrEqual(256)
  expect(initReply?.timeGran).toBe(1)
  for (const name of [
    'ASYNC_READ',
    'BIG_WRITES',
    'DO_READDIRPLUS',
    'READDIRPLUS_AUTO',
    'PARALLEL_DIROPS',
    'MAX_PAGES',
    'INIT_EXT',
  ] as const) {
    expect((initReply?.flags ?? 0n) & InitFlag[name], name).toBe(InitFlag[name])
  }
})

test('accepts nothing that the guest did not offer', async () => {
  const offered = InitFlag.ASYNC_READ | InitFlag.BIG_WRITES | InitFlag.MAX_PAGES
  const { initReply } = await startSession({ initFlags: offered })
  expect((initReply?.flags ?? 0n) & ~offered).toBe(0n)
})

test('answers a guest with a newer major version by its own', async () => {
  const { client } = await startSession({ noInit: true })
  const args = new Uint8Array(64)
  new DataView(args.buffer).setUint32(0, 8, true)
  const body = client.transport.call(Opcode.INIT, 0n, args, { replyBytes: 64 })
  expect(new DataView(body.buffer, body.byteOffset).getUint32(0, true)).toBe(7)
})

test('refuses a guest whose protocol is too old', async () => {
  const { client } = await startSession({ noInit: true })
  expect(outcome(() => client.init(GUEST_INIT_FLAGS, 8))).toBe('EPROTO')
})

const WITHOUT_ACLS = GUEST_INIT_FLAGS & ~InitFlag.DONT_MASK
const WITHOUT_LABELS = GUEST_INIT_FLAGS & ~InitFlag.SECURITY_CTX

test.skipIf(REFERENCE !== undefined).each([
  ['--posix-acl', WITHOUT_ACLS],
  ['--security-label', WITHOUT_LABELS],
  ['--security-label', GUEST_INIT_FLAGS & ~InitFlag.INIT_EXT],
])('%s must be had, and what is missing is logged', async (option, flags) => {
  const { client, daemon } = await startSession({ args: [option, '--xattrmap=:map::user.v.:'], noInit: true })
  expect(outcome(() => client.init(flags))).toBe('EPROTO')
  expect(outcome(() => client.lookup(1n, '.'))).not.toBe('ok')
  const line = `refused a guest that does not support what ${option} asks for`
  await daemon.until(() => daemon.log.includes(line), line)
  client.init()
  expect(client.getattr(1n).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('an ACL mode of auto gives all that belongs to it, or nothing', async () => {
  const { client, initReply, daemon } = await startSession({ args: ['--posix-acl=auto'], initFlags: WITHOUT_ACLS })
  const acl = InitFlag.POSIX_ACL | InitFlag.DONT_MASK | InitFlag.SETXATTR_EXT
  expect((initReply?.flags ?? 0n) & acl).toBe(0n)
  // Nobody would enforce it.
  writeFileSync(join(daemon.sharedDir, 'file'), '')
  const { nodeid } = client.lookup(1n, 'file')
  expect(outcome(() => client.getxattr(nodeid, 'system.posix_acl_access', 100))).toBe('ENOTSUP')
  expect(client.init().flags & acl).toBe(acl)
  expect(outcome(() => client.getxattr(client.lookup(1n, 'file').nodeid, 'system.posix_acl_access', 100))).toBe(
    'ENODATA',
  )
})

test.skipIf(REFERENCE !== undefined)('serves nothing before INIT', async () => {
  const { client } = await startSession({ noInit: true })
  expect(outcome(() => client.getattr(1n))).not.toBe('ok')
  client.init()
  expect(client.getattr(1n).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('starts a new session after DESTROY and after an INIT without one', async () => {
  const { client, daemon } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'x')
  for (const destroy of [true, false]) {
    const { nodeid } = client.lookup(1n, 'file')
    if (destroy) {
      client.destroy()
    }
    client.init()
    // The old node id means nothing any more.
    expect(outcome(() => client.getattr(nodeid))).not.toBe('ok')
    expect(client.lookup(1n, 'file').attr.size).toBe(1)
  }
})
