// SPDX-License-Identifier: Apache-2.0
/** What becomes of setuid and setgid bits, with --killpriv-v2 and without: the same in Debian's virtiofsd and in viewfsd. */
import { chmodSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { virtiofsdProgram } from '../../e2e/rig/virtiofsd.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { FuseClient } from './harness/fuse-client.ts'
import { outcome, startSession } from './harness/session.ts'
import { pack } from './harness/wire.ts'

const O_RDWR = 2
const O_TRUNC = 0o1000
const FATTR = { MODE: 1, UID: 2, GID: 4, SIZE: 8, FH: 64, KILL_SUIDGID: 1 << 11 }
const WRITE_KILL_SUIDGID = 4
const OPEN_KILL_SUIDGID = 1
const ALICE = { uid: 1000, gid: 1000, pid: 1 }

type Action = (client: FuseClient, nodeid: bigint, fh: bigint) => unknown

function open(openFlags: number): Action {
  return (client, nodeid) =>
    client.transport.call(Opcode.OPEN, nodeid, pack(['u32', O_RDWR | O_TRUNC], ['u32', openFlags]), { replyBytes: 16 })
}

/** What a guest may do to a file; its kernel sends the KILL flags only where they were negotiated. */
const ACTIONS: Readonly<Record<string, Action>> = {
  'a write': (client, nodeid, fh) => client.write(nodeid, fh, 0, Buffer.from('x')),
  'a write that kills': (client, nodeid, fh) =>
    client.write(nodeid, fh, 0, Buffer.from('x'), { write: WRITE_KILL_SUIDGID }),
  'a truncation': (client, nodeid) => client.setattr(nodeid, { valid: FATTR.SIZE, size: 1 }),
  'a truncation that kills': (client, nodeid) =>
    client.setattr(nodeid, { valid: FATTR.SIZE | FATTR.KILL_SUIDGID, size: 1 }),
  'a truncation by handle that kills': (client, nodeid, fh) =>
    client.setattr(nodeid, { valid: FATTR.SIZE | FATTR.FH | FATTR.KILL_SUIDGID, fh, size: 1 }),
  'an open that truncates': open(0),
  'an open that truncates and kills': open(OPEN_KILL_SUIDGID),
  'a new owner': (client, nodeid) => client.setattr(nodeid, { valid: FATTR.UID, uid: 1 }),
  'a new group': (client, nodeid) => client.setattr(nodeid, { valid: FATTR.GID, gid: 1 }),
  'a new owner that kills': (client, nodeid) =>
    client.setattr(nodeid, { valid: FATTR.UID | FATTR.KILL_SUIDGID, uid: 1 }),
  // What a guest without HANDLE_KILLPRIV does by itself.
  'a new mode': (client, nodeid) => client.setattr(nodeid, { valid: FATTR.MODE, mode: 0o755 }),
  'an allocation': (client, nodeid, fh) => client.fallocate(nodeid, fh, 0, 100, 0),
  'a copy into it': (client, nodeid, fh) => {
    const source = client.create(ROOT_ID, 'source', O_RDWR)
    client.write(source.entry.nodeid, source.fh, 0, Buffer.from('copy'))
    const from = { nodeid: source.entry.nodeid, fh: source.fh, offset: 0 }
    client.copyFileRange(from, { nodeid, fh, offset: 0 }, 4)
    client.unlink(ROOT_ID, 'source')
  },
}

/** The mode after each action of the guest's root and of a user, on a file and on one that is not executable by its group. */
async function modes(program: string | undefined, args: readonly string[]): Promise<Record<string, string>> {
  const session = await startSession({ args, ...(program === undefined ? {} : { program }) })
  const { client, daemon, transport } = session
  chmodSync(daemon.sharedDir, 0o777)
  const result: Record<string, string> = {}
  for (const [what, action] of Object.entries(ACTIONS)) {
    for (const [who, credentials] of [
      ['root', { uid: 0, gid: 0, pid: 1 }],
      ['a user', ALICE],
    ] as const) {
      for (const mode of [0o6777, 0o2767]) {
        const path = join(daemon.sharedDir, 'file')
        writeFileSync(path, 'contents')
        const { nodeid } = client.lookup(ROOT_ID, 'file')
        const fh = client.open(nodeid, O_RDWR)
        chmodSync(path, mode)
        transport.credentials = credentials
        const how = outcome(() => action(client, nodeid, fh))
        transport.credentials = { uid: 0, gid: 0, pid: 1 }
        client.release(nodeid, fh)
        const after = (statSync(path).mode & 0o7777).toString(8)
        result[`${what} by ${who}, ${mode.toString(8)}`] = how === 'ok' ? after : how
        client.unlink(ROOT_ID, 'file')
      }
    }
  }
  return result
}

test('with --killpriv-v2', async () => {
  const ours = await modes(undefined, ['--killpriv-v2'])
  expect(ours['a write that kills by a user, 6777']).toBe('777')
  expect(ours['a write by a user, 6777']).toBe('6777')
  const theirs = await modes(await virtiofsdProgram(), ['--killpriv-v2'])
  // Linux leaves these to the server, and a file system of the host clears the bits. virtiofsd does not.
  for (const what of ['an allocation by a user, 6777', 'a copy into it by a user, 6777']) {
    expect(ours[what], what).toBe('777')
    theirs[what] = '777'
  }
  expect(ours).toEqual(theirs)
})

test.each([[[]], [['--killpriv-v2', '--no-killpriv-v2']]])(
  'with %j, but for requests that say so all the same',
  async (args) => {
    const ours = await modes(undefined, args)
    const theirs = await modes(await virtiofsdProgram(), args)
    const asked = Object.keys(ours).filter((what) => /that (truncates and )?kills? by/.test(what))
    const others = Object.keys(ours).filter((what) => !asked.includes(what))
    expect(others.length).toBeGreaterThan(20)
    expect(others.map((what) => [what, ours[what]])).toEqual(others.map((what) => [what, theirs[what]]))
    // Linux' direct writes do, whatever was negotiated. virtiofsd leaves the bits to the guest, which clears them as well.
    for (const what of asked) expect(ours[what], what).toBe(what.endsWith('6777') ? '777' : theirs[what])
  },
)
