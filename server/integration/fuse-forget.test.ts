// SPDX-License-Identifier: Apache-2.0
/** FORGET and BATCH_FORGET: what the guest no longer knows costs nothing. */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'

test('drops an inode with its last lookup', async () => {
  const { client, hiprio } = await startSession()
  const { entry } = client.create(ROOT_ID, 'file', 2)
  client.lookup(ROOT_ID, 'file')
  client.lookup(ROOT_ID, 'file')
  client.forget(entry.nodeid, 2, { queue: hiprio })
  expect(outcome(() => client.getattr(entry.nodeid))).toBe('ok')
  client.forget(entry.nodeid, 1, { queue: hiprio })
  expect(['EBADF', 'ENOENT', 'ESTALE', 'EINVAL']).toContain(outcome(() => client.getattr(entry.nodeid)))
  expect(outcome(() => client.lookup(ROOT_ID, 'file'))).toBe('ok')
})

test('holds as many descriptors after 5,000 files as before', async () => {
  const { client, daemon } = await startSession()
  for (let i = 0; i < 5000; i++) {
    closeSync(openSync(join(daemon.sharedDir, `f${i}`), 'w'))
  }
  client.getattr(client.lookup(ROOT_ID, 'f0').nodeid)
  const before = daemon.openFiles
  const known = Array.from({ length: 4999 }, (_, i) => client.lookup(ROOT_ID, `f${i + 1}`).nodeid)
  expect(new Set(known).size).toBe(4999)
  for (let at = 0; at < known.length; at += 500) {
    client.batchForget(known.slice(at, at + 500).map((nodeid) => ({ nodeid, lookups: 1 })))
  }
  // FORGET has no reply; a request after it on the same queue has.
  client.getattr(ROOT_ID)
  expect(daemon.openFiles).toBeLessThanOrEqual(before + 5)
})

test.skipIf(REFERENCE !== undefined)('survives forgets that lie', async () => {
  const { client } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.forget(ROOT_ID, 1_000_000)
  client.forget(0n, 1)
  client.forget(424_242n, 1)
  client.forget(2n ** 64n - 1n, 1)
  client.batchForget([
    { nodeid: ROOT_ID, lookups: 5 },
    { nodeid: entry.nodeid, lookups: 999 },
    { nodeid: entry.nodeid, lookups: 999 },
  ])
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  outcome(() => client.write(entry.nodeid, fh, 0, new Uint8Array(1)))
  expect(client.lookup(ROOT_ID, 'file').attr.nlink).toBe(1)
})
