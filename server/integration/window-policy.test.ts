// SPDX-License-Identifier: Apache-2.0
/** --dax-policy: guests that are mounted with dax=inode, Linux's default. */
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { InitFlag, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome } from './harness/session.ts'
import { DAX_INIT_FLAGS, makeFile, RANGE, READ, stamped, startWindowSession } from './harness/window-session.ts'

const WINDOW_FLAGS = InitFlag.MAP_ALIGNMENT | InitFlag.HAS_INODE_DAX
const initFlags = DAX_INIT_FLAGS | InitFlag.HAS_INODE_DAX
const ATTR_DAX = 2

test('marks files by size and age, and maps them', async () => {
  const session = await startWindowSession({ args: ['--dax-policy=64K,1h'], initFlags })
  const { client, daemon, initReply, window } = session
  expect((initReply?.flags ?? 0n) & WINDOW_FLAGS).toBe(WINDOW_FLAGS)
  const flagsOf = (name: string, bytes: number, hoursOld: number): number => {
    makeFile(session, name, bytes, 3)
    const time = Date.now() / 1000 - hoursOld * 3600
    utimesSync(join(daemon.sharedDir, name), time, time)
    return client.lookup(ROOT_ID, name).attr.flags & ATTR_DAX
  }
  expect([flagsOf('old', RANGE, 2), flagsOf('fresh', 65536, 0), flagsOf('small', 65535, 2)]).toEqual([ATTR_DAX, 0, 0])
  const { nodeid } = client.lookup(ROOT_ID, 'old')
  expect(client.getattr(nodeid).flags & ATTR_DAX).toBe(ATTR_DAX)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  expect(window.read(4096, 4096)).toEqual(new Uint8Array(stamped(RANGE, 3).subarray(4096, 8192)))
})

test('never: such a guest is not told of the window', async () => {
  const session = await startWindowSession({ initFlags })
  const { client, initReply } = session
  expect((initReply?.flags ?? 0n) & WINDOW_FLAGS).toBe(0n)
  const nodeid = makeFile(session, 'file', RANGE)
  expect(client.getattr(nodeid).flags & ATTR_DAX).toBe(0)
  expect(outcome(() => client.setupMapping(nodeid, 0, RANGE, READ, 0))).toBe('ENODEV')
})
