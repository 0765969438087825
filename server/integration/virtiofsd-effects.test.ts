// SPDX-License-Identifier: Apache-2.0
/** What options do for the guest: the same in Debian's virtiofsd and in viewfsd. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { virtiofsdProgram } from '../../e2e/rig/virtiofsd.ts'
import { InitFlag, Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { outcome, startSession } from './harness/session.ts'
import { ProtocolFeature } from './harness/vhost-user.ts'
import { pack } from './harness/wire.ts'

/** What options decide; the rest is what each daemon is able to do. */
const DECIDED_BY_OPTIONS = [
  'WRITEBACK_CACHE',
  'HANDLE_KILLPRIV',
  'HANDLE_KILLPRIV_V2',
  'POSIX_ACL',
  'DONT_MASK',
  'SETXATTR_EXT',
  'SECURITY_CTX',
  'DO_READDIRPLUS',
  'READDIRPLUS_AUTO',
] as const

const O_RDWR = 2
const O_NOATIME = 0o1000000

/** Everything that a guest can tell of one daemon's options. */
async function effects(program: string | undefined, args: readonly string[]): Promise<unknown> {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  const mount = join(directory, 'mount')
  mkdirSync(mount)
  writeFileSync(join(directory, 'file'), 'contents')
  // Before the start: later mounts are seen in a mount namespace only where the host shares its mounts.
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mount])
  onTestFinished(() => void execFileSync('umount', ['-l', mount]))
  const session = await startSession({
    args,
    tag: '',
    device: 'fs-pci',
    sharedDir: directory,
    ...(program === undefined ? {} : { program }),
  })
  const { client, frontend, initReply, transport } = session
  const { nodeid, entryValid, attrValid } = client.lookup(ROOT_ID, 'file')
  const openFlags = (opcode: number, node: bigint, flags: number): number | string => {
    let reply: Uint8Array | undefined
    const error = outcome(() => {
      reply = transport.call(opcode, node, pack(['u32', flags], ['u32', 0]), { replyBytes: 16 })
    })
    if (reply === undefined) return error
    // FOPEN_NOFLUSH (bit 5) spares the guest a request; virtiofsd does not know it. FOPEN_CACHE_DIR (bit 3) alone, for what
    // later opens may keep (FOPEN_KEEP_CACHE, bit 1), it does not use.
    const got = new DataView(reply.buffer, reply.byteOffset).getUint32(8, true) & ~(1 << 5)
    return got === 1 << 3 ? 0 : got
  }
  return {
    init: DECIDED_BY_OPTIONS.filter((name) => ((initReply?.flags ?? 0n) & InitFlag[name]) !== 0n),
    submount: client.lookup(ROOT_ID, 'mount').attr.flags,
    validity: [Number(entryValid), Number(attrValid)],
    file: openFlags(Opcode.OPEN, nodeid, O_RDWR),
    directory: openFlags(Opcode.OPENDIR, ROOT_ID, 0),
    noatime: openFlags(Opcode.OPEN, nodeid, O_RDWR | O_NOATIME),
    setxattr: outcome(() => client.setxattr(nodeid, 'user.test', new Uint8Array(1))),
    listxattr: outcome(() => client.listxattr(nodeid, 100)),
    write: outcome(() => client.mkdir(ROOT_ID, 'new')),
    config: (frontend.offeredProtocolFeatures & ProtocolFeature.CONFIG) !== 0n,
  }
}

test.each([
  [[]],
  [['--xattr']],
  [['--posix-acl']],
  [['-o', 'posix_acl']],
  [['-o', 'xattr', '-o', 'no_xattr']],
  [['-o', 'no_xattr', '--xattr']],
  [['--cache=never']],
  [['--cache=metadata']],
  [['--cache=always']],
  [['-o', 'cache=none']],
  [['--cache=always', '--cache=never']],
  [['--cache=never', '-o', 'cache=always']],
  [['--writeback']],
  [['--writeback', '-o', 'no_writeback']],
  [['--killpriv-v2']],
  [['--killpriv-v2', '--no-killpriv-v2']],
  [['--no-killpriv-v2', '--killpriv-v2']],
  [['-o', 'killpriv_v2', '--no-killpriv-v2']],
  [['--announce-submounts']],
  [['--no-announce-submounts']],
  [['--no-announce-submounts', '--announce-submounts']],
  [['--no-announce-submounts', '-o', 'announce_submounts']],
  [['--no-readdirplus']],
  [['--no-readdirplus', '-o', 'readdirplus']],
  [['--readonly']],
  [['--preserve-noatime']],
  [['--xattrmap=:map::user.virtiofs.:']],
  [['--xattrmap=:bad:all:user.:x::ok:all:::']],
  [['--tag=data']],
])('%j', async (args) => {
  const theirs = await effects(await virtiofsdProgram(), args)
  expect(await effects(undefined, args)).toEqual(theirs)
})

/** Of a guest root that is another user on the host, in a directory of the host's root. */
async function translatedAttempts(program?: string): Promise<string[]> {
  const { client, daemon } = await startSession({
    args: ['--translate-uid=map:0:1:1'],
    ...(program === undefined ? {} : { program }),
  })
  writeFileSync(join(daemon.sharedDir, 'file'), '')
  return [outcome(() => client.mkdir(ROOT_ID, 'directory')), outcome(() => client.unlink(ROOT_ID, 'file'))]
}

test('is meant to differ: a root that --translate-uid maps makes files where it may remove them', async () => {
  expect(await translatedAttempts(await virtiofsdProgram())).toEqual(['EACCES', 'ok'])
  expect(await translatedAttempts()).toEqual(['ok', 'ok'])
})
