// SPDX-License-Identifier: Apache-2.0
/** SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { testing } from '../../native/testing/index.ts'
import { REFERENCE } from './harness/daemon.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'
import { cString, pack } from './harness/wire.ts'

const args = ['--xattr']
const XATTR = { CREATE: 1, REPLACE: 2 } as const

test('keeps values to the byte', async () => {
  const { client, daemon } = await startSession({ args })
  const { entry } = client.create(ROOT_ID, 'file', 2)
  for (const length of [0, 1, 255, 3000]) {
    const value = Buffer.alloc(length, 0xa5)
    client.setxattr(entry.nodeid, 'user.test', value)
    expect(client.getxattr(entry.nodeid, 'user.test', 0)).toBe(length)
    if (length > 0) {
      expect(client.getxattr(entry.nodeid, 'user.test', 4096)).toEqual(value)
      expect(client.getxattr(entry.nodeid, 'user.test', length)).toEqual(value)
    }
    const host = Buffer.alloc(4096)
    expect(testing.getXattr(join(daemon.sharedDir, 'file'), 'user.test', host)).toBe(length)
    expect(host.subarray(0, length)).toEqual(value)
  }
  expect(outcome(() => client.getxattr(entry.nodeid, 'user.test', 100))).toBe('ERANGE')
})

test('sees what the host sets', async () => {
  const { client, daemon } = await startSession({ args })
  const { entry } = client.create(ROOT_ID, 'file', 2)
  testing.setXattr(join(daemon.sharedDir, 'file'), 'user.host', Buffer.from('from the host'))
  expect(client.getxattr(entry.nodeid, 'user.host', 100)).toEqual(Buffer.from('from the host'))
})

test('lists and removes', async () => {
  const { client } = await startSession({ args })
  const directory = client.mkdir(ROOT_ID, 'directory')
  const names = Array.from({ length: 20 }, (_, i) => `user.name-${i}`)
  for (const name of names) {
    client.setxattr(directory.nodeid, name, Buffer.from(name))
  }
  const size = client.listxattr(directory.nodeid, 0)
  expect(size).toBe(names.join('').length + names.length)
  const listed = client.listxattr(directory.nodeid, Number(size))
  expect(
    Buffer.from(listed instanceof Uint8Array ? listed : [])
      .toString()
      .split('\0')
      .filter(Boolean)
      .toSorted(),
  ).toEqual(names.toSorted())
  expect(outcome(() => client.listxattr(directory.nodeid, 10))).toBe('ERANGE')
  client.removexattr(directory.nodeid, 'user.name-3')
  expect(outcome(() => client.getxattr(directory.nodeid, 'user.name-3', 100))).toBe('ENODATA')
  expect(outcome(() => client.removexattr(directory.nodeid, 'user.name-3'))).toBe('ENODATA')
})

test('obeys CREATE and REPLACE and refuses wrong names', async () => {
  const { client } = await startSession({ args })
  const { entry } = client.create(ROOT_ID, 'file', 2)
  const value = new Uint8Array(1)
  expect(outcome(() => client.setxattr(entry.nodeid, 'user.a', value, XATTR.REPLACE))).toBe('ENODATA')
  client.setxattr(entry.nodeid, 'user.a', value, XATTR.CREATE)
  expect(outcome(() => client.setxattr(entry.nodeid, 'user.a', value, XATTR.CREATE))).toBe('EEXIST')
  expect(outcome(() => client.setxattr(entry.nodeid, 'user.a', value, 99))).toBe('EINVAL')
  expect(outcome(() => client.setxattr(entry.nodeid, `user.${'n'.repeat(300)}`, value))).toBe('ERANGE')
  expect(outcome(() => client.getxattr(entry.nodeid, 'nonsense.x', 10))).not.toBe('ok')
  // A symbolic link has no user attributes, and its target must not get them.
  const link = client.symlink(ROOT_ID, 'link', 'file')
  expect(outcome(() => client.setxattr(link.nodeid, 'user.b', value))).not.toBe('ok')
  expect(outcome(() => client.getxattr(entry.nodeid, 'user.b', 10))).toBe('ENODATA')
})

test.skipIf(REFERENCE !== undefined)('refuses sizes that do not fit the request', async () => {
  const { client, transport } = await startSession({ args })
  const { entry } = client.create(ROOT_ID, 'file', 2)
  for (const request of [
    pack(['u32', 1000], ['u32', 0], cString('user.x'), new Uint8Array(10)),
    pack(['u32', 0xffff_ffff], ['u32', 0], cString('user.x'), new Uint8Array(10)),
    pack(['u32', 4], ['u32', 0], Buffer.from('user.x')),
    pack(['u32', 4]),
  ]) {
    expect(outcome(() => transport.call(Opcode.SETXATTR, entry.nodeid, request))).toBe('EINVAL')
  }
  expect(client.listxattr(entry.nodeid, 0)).toBe(0)
})
