// SPDX-License-Identifier: Apache-2.0
/** --security-label: guests that label what they create, and daemons that could keep no label. The recipes are doc/recipes.md's. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { recipe } from '../../e2e/guest/recipes.ts'
import { testing } from '../../native/testing/index.ts'
import { ENTRY_OUT_BYTES, Opcode, readEntry, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, type Session, startDaemon, startSession } from './harness/session.ts'
import { cString, pack, Unpacker } from './harness/wire.ts'

const LABEL = 'security.selinux'
const CONTEXT = 'system_u:object_r:container_file_t:s0'
const S_IFIFO = 0o010000
const ANY_USER = recipe('doc/recipes.md', 'selinux').options
const PRIVILEGED = recipe('doc/recipes.md', 'every-label').options

/** struct fuse_ext_header, struct fuse_secctx, the name and the value, as Linux lays them out behind the request. */
function labelled(name: string, value: string): Uint8Array {
  const text = [cString(name), cString(value)]
  const size = (16 + text.reduce((sum, { length }) => sum + length, 0) + 7) & ~7
  const bytes = new Uint8Array(size)
  bytes.set(pack(['u32', size], ['u32', 1], ['u32', value.length + 1], ['u32', 0], ...text))
  return bytes
}

/** What a labelling guest sends for each kind of file. @returns the new node's id */
function makers({ transport }: Session): Record<'file' | 'directory' | 'link' | 'fifo', (name: string) => bigint> {
  const make = (opcode: number, args: Uint8Array, replyBytes = ENTRY_OUT_BYTES): bigint => {
    const extension = labelled(LABEL, CONTEXT)
    const body = transport.call(opcode, ROOT_ID, args, { replyBytes, extension })
    return readEntry(new Unpacker(body)).nodeid
  }
  return {
    file: (name) =>
      make(
        Opcode.CREATE,
        pack(['u32', 2], ['u32', 0o644], ['u32', 0], ['u32', 0], cString(name)),
        ENTRY_OUT_BYTES + 16,
      ),
    directory: (name) => make(Opcode.MKDIR, pack(['u32', 0o755], ['u32', 0], cString(name))),
    link: (name) => make(Opcode.SYMLINK, pack(cString(name), cString('nowhere'))),
    fifo: (name) =>
      make(Opcode.MKNOD, pack(['u32', S_IFIFO | 0o644], ['u32', 0], ['u32', 0], ['u32', 0], cString(name))),
  }
}

/** A label, or the error's code. */
function labelOf({ client }: Session, nodeid: bigint): string {
  let value: unknown
  const error = outcome(() => (value = client.getxattr(nodeid, LABEL, 100)))
  return value instanceof Uint8Array ? Buffer.from(value).toString().replace(/\0$/, '') : error
}

describe('a guest that labels what it creates', () => {
  test.each([
    ['where any user may', ANY_USER, 'user.virtiofs.', ['link', 'fifo']],
    ['where only root may', PRIVILEGED, 'trusted.virtiofs.', []],
  ])('has its labels %s', async (_, args, prefix, bare) => {
    const session = await startSession({ args })
    const { client, daemon } = session
    for (const [kind, make] of Object.entries(makers(session))) {
      const nodeid = make(kind)
      expect([kind, labelOf(session, nodeid)]).toEqual([kind, bare.includes(kind) ? 'ENODATA' : CONTEXT])
      if (kind === 'link' || bare.includes(kind)) continue
      const host = Buffer.alloc(100)
      const length = testing.getXattr(join(daemon.sharedDir, kind), `${prefix}${LABEL}`, host)
      expect(host.subarray(0, length).toString()).toBe(`${CONTEXT}\0`)
      client.setxattr(nodeid, LABEL, Buffer.from('another'))
      expect(labelOf(session, nodeid)).toBe('another')
    }
    // The guest does not see where its labels are, and can't go there by another name.
    const { nodeid } = client.lookup(ROOT_ID, 'file')
    const names = client.listxattr(nodeid, 1000)
    expect(Buffer.from(names instanceof Uint8Array ? names : []).toString()).toBe(`${LABEL}\0`)
    expect(outcome(() => client.setxattr(nodeid, `${prefix}${LABEL}`, Buffer.from('x')))).toBe('EPERM')
  })
})

describe('what can keep no label does not start, and says so once', () => {
  const unprivileged = [...PRIVILEGED, '--modcaps=-sys_admin']
  test.each([
    ['a name for root alone', unprivileged, "this process can't write trusted.virtiofs.security.selinux"],
    ['no sandbox', [...unprivileged, '--sandbox=none'], "this process can't write trusted.virtiofs.security.selinux"],
    [
      'rules without one that matches',
      ['--security-label=auto', '--xattrmap=:ok:all:user.::'],
      'the rules of --xattrmap refuse security.selinux',
    ],
  ])('%s', async (_, args, why) => {
    const daemon = startDaemon({ args: ['--rlimit-nofile=0', ...args] })
    expect(await daemon.exit()).toEqual({ code: 1, signal: null })
    expect(daemon.records).toHaveLength(1)
    expect(JSON.stringify(daemon.records[0])).toContain(`"msg":"--security-label: ${why}`)
    expect(daemon.log).toContain('--xattrmap=:map:security.selinux:user.virtiofs.:')
  })

  test('while a read-only share needs none', async () => {
    const { client } = await startSession({ args: [...unprivileged, '--readonly'] })
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  })
})
