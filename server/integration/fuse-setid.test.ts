// SPDX-License-Identifier: Apache-2.0
/** Who clears setuid and setgid: the guest by SETATTR, or, where it trusts us to (HANDLE_KILLPRIV_V2), the server. */
import { chmodSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { InitFlag, ROOT_ID } from './harness/fuse-abi.ts'
import { type Session, startSession } from './harness/session.ts'
import { DAX_INIT_FLAGS, startWindowSession } from './harness/window-session.ts'

const O_RDWR = 2
const BOTH = InitFlag.HANDLE_KILLPRIV_V2 | InitFlag.ATOMIC_O_TRUNC
const ROOT = { uid: 0, gid: 0, pid: 1 }
const ALICE = { uid: 1000, gid: 1000, pid: 1 }
/** What Linux sends with everything but creations since 7.42. */
const NOBODY_KNOWS = { uid: 0xffff_ffff, gid: 0xffff_ffff, pid: 1 }

test.skipIf(REFERENCE !== undefined)(
  'lets a guest truncate by OPEN only where the server clears the bits',
  async () => {
    const plain = await startSession()
    expect((plain.initReply?.flags ?? 0n) & BOTH).toBe(0n)
    const killing = await startSession({ args: ['--killpriv-v2'] })
    expect((killing.initReply?.flags ?? 0n) & BOTH).toBe(BOTH)
  },
)

test.skipIf(REFERENCE !== undefined)(
  'takes neither that nor modification times over from a guest that writes through a window',
  async () => {
    const offered = BOTH | InitFlag.WRITEBACK_CACHE
    const args = ['--killpriv-v2', '--writeback']
    const plain = await startSession({ args, initFlags: DAX_INIT_FLAGS | offered })
    expect((plain.initReply?.flags ?? 0n) & offered).toBe(offered)
    const { initReply } = await startWindowSession({ args, initFlags: DAX_INIT_FLAGS | offered })
    expect((initReply?.flags ?? 0n) & (offered | InitFlag.MAP_ALIGNMENT)).toBe(InitFlag.MAP_ALIGNMENT)
  },
)

/** Makes a setuid program, changes it as that user, and gives its mode. */
function modeAfter(
  { client, daemon, transport }: Session,
  credentials: typeof ROOT,
  change: (file: { nodeid: bigint; fh: bigint }, source: { nodeid: bigint; fh: bigint }) => void,
): number {
  transport.credentials = ROOT
  for (const name of ['program', 'source']) writeFileSync(join(daemon.sharedDir, name), Buffer.alloc(8192, 1))
  chmodSync(join(daemon.sharedDir, 'program'), 0o6777)
  const open = (name: string) => {
    const { nodeid } = client.lookup(ROOT_ID, name)
    return { nodeid, fh: client.open(nodeid, O_RDWR) }
  }
  const [program, source] = [open('program'), open('source')]
  transport.credentials = credentials
  change(program, source)
  return statSync(join(daemon.sharedDir, 'program')).mode & 0o7777
}

test.skipIf(REFERENCE !== undefined)(
  'clears the bits at FALLOCATE and COPY_FILE_RANGE, which say nothing',
  async () => {
    const session = await startSession({ args: ['--killpriv-v2'] })
    const { client } = session
    const changes: Parameters<typeof modeAfter>[2][] = [
      ({ nodeid, fh }) => client.fallocate(nodeid, fh, 0, 4096, 3),
      (to, from) => client.copyFileRange({ ...from, offset: 0 }, { ...to, offset: 0 }, 100),
    ]
    for (const change of changes) {
      expect(modeAfter(session, ALICE, change)).toBe(0o777)
      expect(modeAfter(session, NOBODY_KNOWS, change)).toBe(0o777)
      expect(modeAfter(session, ROOT, change)).toBe(0o6777)
    }
  },
)
