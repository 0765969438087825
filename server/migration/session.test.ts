// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { FUSE_KERNEL_MINOR_VERSION, FuseInitFlag, FuseInitFlag2 } from '../fuse/abi.ts'
import type { StateSession } from './device-state.ts'
import { negotiatedOptions, refuseSession, sessionFromVirtiofsd } from './session.ts'

const NOTHING = { flags: 0, flags2: 0 }
const session = (parts: Partial<StateSession>): StateSession => ({
  minor: 38,
  flags: 0,
  flags2: 0,
  generation: 0,
  ...parts,
})

test('a guest goes on where all is offered that it has agreed to', () => {
  const flags = FuseInitFlag.WRITEBACK_CACHE | FuseInitFlag.SUBMOUNTS | FuseInitFlag.DO_READDIRPLUS
  expect(refuseSession(session({ flags }), { flags, flags2: 0 })).toBeUndefined()
  // What changes the meaning of no request is not asked for.
  expect(refuseSession(session({ flags: FuseInitFlag.DO_READDIRPLUS }), NOTHING)).toBeUndefined()
})

test.each([
  [{ flags: FuseInitFlag.WRITEBACK_CACHE }, '--writeback'],
  [{ flags: FuseInitFlag.SUBMOUNTS }, '--announce-submounts'],
  [{ flags: FuseInitFlag.DONT_MASK }, '--posix-acl'],
  [{ flags: FuseInitFlag.HANDLE_KILLPRIV_V2 }, '--killpriv-v2'],
  [{ flags: FuseInitFlag.POSIX_LOCKS | FuseInitFlag.FLOCK_LOCKS }, '--posix-locks, --flocks'],
  [{ flags2: FuseInitFlag2.SECURITY_CTX }, '--security-label'],
  [{ flags: FuseInitFlag.MAP_ALIGNMENT }, 'a DAX window'],
  [{ minor: FUSE_KERNEL_MINOR_VERSION + 1 }, `FUSE 7.${FUSE_KERNEL_MINOR_VERSION + 1}`],
])('%j is refused, and %s named', (parts, named) => {
  expect(refuseSession(session(parts), NOTHING)).toContain(named)
})

test('what a virtiofsd has a place for comes back from it', () => {
  for (const [writeback, announceSubmounts, posixAcl, supplementaryGroup] of [
    [true, false, true, false],
    [false, true, false, true],
  ] as const) {
    const options = { writeback, announceSubmounts, posixAcl, supplementaryGroup }
    expect(negotiatedOptions(sessionFromVirtiofsd(options, NOTHING))).toEqual(options)
  }
})

test('what it has none for is as this daemon is started', () => {
  const offered = { flags: FuseInitFlag.HANDLE_KILLPRIV_V2, flags2: FuseInitFlag2.SECURITY_CTX }
  const options = { writeback: false, announceSubmounts: false, posixAcl: false, supplementaryGroup: false }
  expect(sessionFromVirtiofsd(options, offered)).toMatchObject({
    flags: expect.toSatisfy((flags: number) => (flags & FuseInitFlag.HANDLE_KILLPRIV_V2) !== 0),
    flags2: FuseInitFlag2.SECURITY_CTX,
    generation: 0,
  })
  const without = sessionFromVirtiofsd(options, NOTHING)
  expect(without.flags & (FuseInitFlag.HANDLE_KILLPRIV_V2 | FuseInitFlag.EXPORT_SUPPORT)).toBe(0)
})
