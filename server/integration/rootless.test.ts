// SPDX-License-Identifier: Apache-2.0
/** The daemon of an ordinary user, with a user namespace and without: whose the files are, on the host and for the guest. */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { killServer } from './harness/serving-process.ts'
import { outcome, type Session, type SessionOptions, startSession } from './harness/session.ts'
import { DAX_INIT_FLAGS, RANGE, READ, stamped, windowOf, WRITE } from './harness/window-session.ts'

const FATTR_UID = 2
const FATTR_GID = 4

/** Debian's `games`: newuidmap(1) wants a user that has a name. */
const UID = 5
const GID = 60
/** Debian's `cdrom`, a group that the user is in. */
const CDROM = 24
/** The first of the ids that the user has besides. */
const DELEGATED = 300_000

/** Becomes that user, with DELEGATED in /etc/subuid and /etc/subgid for itself alone. $1: a file for these lines. */
const BECOME_USER = `
mount --make-rprivate /
printf 'games:${DELEGATED}:1000\\n' >"$1"
for name in /etc/subuid /etc/subgid; do
	mount --bind "$1" "$name"
done
shift
exec setpriv --reuid=${UID} --regid=${GID} --groups=${CDROM} "$@"
`

async function startAsUser(args: readonly string[], options: SessionOptions = {}): Promise<Session> {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  const sharedDir = join(directory, 'share')
  mkdirSync(sharedDir)
  // The ids that are delegated have to reach it, too.
  chmodSync(directory, 0o755)
  writeFileSync(join(sharedDir, 'old'), 'old', { mode: 0o600 })
  const session = await startSession({
    ...options,
    sharedDir,
    uid: UID,
    gid: GID,
    through: ['unshare', '-m', 'sh', '-ec', BECOME_USER, 'sh', join(directory, 'delegated')],
    args: ['--sandbox=namespace', '--seccomp=kill', ...args],
  })
  chmodSync(sharedDir, 0o777)
  return session
}

function startWithWindow(): Promise<Session> {
  return startAsUser(['--sandbox=none'], { window: 'shmem', initFlags: DAX_INIT_FLAGS, queueSize: 256 })
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

function owner({ uid, gid }: Owner): string {
  return `${uid}:${gid}`
}

/** A rule that makes all guest ids this one. */
function squashing(id: number): string {
  return `squash-guest:0:${id}:4294967295`
}

/** The owner on the host of what such a guest user makes, or why it can't. */
function make(session: Session, name: string, uid: number, gid: number): string {
  session.transport.credentials = { uid, gid, pid: 1 }
  const result = outcome(() => session.client.create(ROOT_ID, name, 2))
  session.transport.credentials = { uid: 0, gid: 0, pid: 1 }
  return result === 'ok' ? owner(statSync(join(session.daemon.sharedDir, name))) : result
}

beforeAll(() => {
  if (process.geteuid?.() !== 0) throw new Error('these tests need root')
})

const OWN_AS_ROOT = [`--uid-map=:0:${UID}:1:`, `--gid-map=:0:${GID}:1:`]

/**
 * seen: the owner that the guest sees of the user's file; made: owners on the host of what the guest's root, UID:GID and
 * 7:8 make; shown: the owner that the guest sees of the first.
 */
describe.each([
  {
    maps: [],
    // Its own ids are the same for the guest. The guest's root is the user; nobody else can make anything.
    seen: `${UID}:${GID}`,
    made: [`${UID}:${GID}`, `${UID}:${GID}`, 'EPERM'],
    shown: `${UID}:${GID}`,
  },
  { maps: OWN_AS_ROOT, seen: '0:0', made: [`${UID}:${GID}`, 'EPERM', 'EPERM'], shown: '0:0' },
  {
    maps: [`--uid-map=:0:${DELEGATED}:1000:`, `--gid-map=:0:${DELEGATED}:1000:`],
    // The user's own ids are not the guest's to see.
    seen: '65534:65534',
    made: ['300000:300000', '300005:300060', '300007:300008'],
    shown: '0:0',
  },
  {
    maps: [...OWN_AS_ROOT, `--uid-map=:1:${DELEGATED}:1000:`, `--gid-map=:1:${DELEGATED}:1000:`],
    seen: '0:0',
    made: [`${UID}:${GID}`, '300004:300059', '300006:300007'],
    shown: '0:0',
  },
  {
    // setgroups(2) stays forbidden: the group is the kernel's own map.
    maps: [`--uid-map=:0:${DELEGATED}:1000:`],
    seen: `65534:${GID}`,
    made: [`300000:${GID}`, `300005:${GID}`, 'EPERM'],
    shown: `0:${GID}`,
  },
])('with $maps', ({ maps, seen, made, shown }) => {
  test('is followed by another one, and ends when it is told to', async () => {
    const { client, daemon } = await startAsUser([...maps, '--on-crash=restart'])
    await killServer(daemon)
    expect(client.lookup(ROOT_ID, 'old').attr.size).toBe(3)
    daemon.signal('SIGTERM')
    expect(await daemon.exit()).toEqual({ code: 0, signal: null })
  })

  test('files belong to whom the map says', async () => {
    const session = await startAsUser(maps)
    const { client } = session
    const old = client.lookup(ROOT_ID, 'old')
    expect(owner(old.attr)).toBe(seen)
    const results = [make(session, 'a', 0, 0), make(session, 'b', UID, GID), make(session, 'c', 7, 8)]
    expect(results).toEqual(made)
    expect(owner(client.lookup(ROOT_ID, 'a').attr)).toBe(shown)
  })
})

/** What the log says of guest users whose files the daemon can't make. */
function refusals(session: Session): string[] {
  return session.daemon.log.split('\n').filter((line) => line.includes('can not be given'))
}

test.each([['namespace'], ['none']])(
  'names the option where an id can not be had, once, in the sandbox %s',
  async (kind) => {
    const session = await startAsUser([`--sandbox=${kind}`])
    const { client } = session
    expect(make(session, 'of root', 0, 0)).toBe(`${UID}:${GID}`)
    expect(refusals(session)).toEqual([])
    expect(make(session, 'of another user', 7, GID)).toBe('EPERM')
    expect(make(session, 'of another group', UID, 8)).toBe('EPERM')
    session.transport.credentials = { uid: 7, gid: 8, pid: 1 }
    expect(outcome(() => client.mkdir(ROOT_ID, 'directory'))).toBe('EPERM')
    expect(outcome(() => client.symlink(ROOT_ID, 'link', 'target'))).toBe('EPERM')
    expect(outcome(() => client.mknod(ROOT_ID, 'fifo', 0o010_600))).toBe('EPERM')
    expect(refusals(session)).toEqual([expect.stringContaining(`--translate-uid=squash-guest:0:${UID}:4294967295`)])
    expect(refusals(session)[0]).toContain('7:60')
    // As it was before each of them.
    expect(make(session, 'of the same user', UID, GID)).toBe(`${UID}:${GID}`)
  },
)

test('can not give a file away to an id that it has not', async () => {
  const session = await startAsUser([])
  const { client } = session
  const { nodeid } = client.lookup(ROOT_ID, 'old')
  chownSync(join(session.daemon.sharedDir, 'old'), UID, GID)
  for (const owned of [
    { valid: FATTR_UID, uid: 7 },
    { valid: FATTR_GID, gid: 8 },
  ])
    expect(outcome(() => client.setattr(nodeid, owned))).toBe('EPERM')
  expect(refusals(session)).toHaveLength(1)
})

test.each([['namespace'], ['none']])(
  'squashes all guest users to its own id where asked to, in the sandbox %s',
  async (kind) => {
    const session = await startAsUser([
      `--sandbox=${kind}`,
      `--translate-uid=${squashing(UID)}`,
      `--translate-gid=${squashing(GID)}`,
    ])
    const { client, daemon } = session
    for (const [uid, gid] of [
      [0, 0],
      [UID, GID],
      [7, 8],
      [65_534, 4_000_000_000],
    ] as const)
      expect(make(session, `of ${uid}`, uid, gid)).toBe(`${UID}:${GID}`)
    session.transport.credentials = { uid: 7, gid: 8, pid: 1 }
    client.mkdir(ROOT_ID, 'directory')
    client.setattr(client.lookup(ROOT_ID, 'directory').nodeid, { valid: FATTR_UID | FATTR_GID, uid: 9, gid: 9 })
    expect(owner(statSync(join(daemon.sharedDir, 'directory')))).toBe(`${UID}:${GID}`)
    expect(refusals(session)).toEqual([])
  },
)

describe('through a window, without a sandbox', () => {
  const O_WRONLY = 1
  const O_RDWR = 2
  const data = stamped(RANGE, 3)

  test.each([
    ['O_RDWR', O_RDWR],
    ['O_WRONLY', O_WRONLY],
  ])('writes a file that was created read-only, with %s', async (_, flags) => {
    const session = await startWithWindow()
    const { client, daemon } = session
    const { entry, fh } = client.create(ROOT_ID, 'pack', flags, 0o444)
    client.write(entry.nodeid, fh, 0, data)
    client.setupMapping(entry.nodeid, 0, RANGE, READ, 0)
    client.setupMapping(entry.nodeid, 0, RANGE, READ | WRITE, 0)
    windowOf(session.frontend).write(4096, Buffer.from('header'))
    expect(readFileSync(join(daemon.sharedDir, 'pack')).subarray(4096, 4102).toString()).toBe('header')
    client.release(entry.nodeid, fh)
    // Nobody has it open for writing any more, and its mode says no.
    expect(outcome(() => client.setupMapping(entry.nodeid, 0, RANGE, READ | WRITE, RANGE))).toBe('EACCES')
  })

  test('reads and writes what was opened before its mode changed, and no more than that', async () => {
    const session = await startWithWindow()
    const { client, daemon } = session
    const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR, 0o600)
    client.write(entry.nodeid, fh, 0, data)
    client.release(entry.nodeid, fh)
    const reader = client.open(entry.nodeid, 0)
    let moffset = 0
    // Each at a place of its own: this window can't replace a range.
    const map = (flags: number): string =>
      outcome(() => client.setupMapping(entry.nodeid, 0, RANGE, flags, (moffset += RANGE)))
    chmodSync(join(daemon.sharedDir, 'file'), 0)
    expect([map(READ), map(READ | WRITE)]).toEqual(['ok', 'EACCES'])
    client.release(entry.nodeid, reader)
    expect(map(READ)).toBe('EACCES')
    chmodSync(join(daemon.sharedDir, 'file'), 0o600)
    const writer = client.open(entry.nodeid, O_WRONLY)
    chmodSync(join(daemon.sharedDir, 'file'), 0)
    expect([map(READ), map(READ | WRITE)]).toEqual(['ok', 'ok'])
    client.release(entry.nodeid, writer)
  })

  test('opens for writing what can not be read', async () => {
    const { client, daemon } = await startWithWindow()
    chmodSync(join(daemon.sharedDir, 'old'), 0o200)
    chownSync(join(daemon.sharedDir, 'old'), UID, GID)
    const { nodeid } = client.lookup(ROOT_ID, 'old')
    client.write(nodeid, client.open(nodeid, O_WRONLY), 0, Buffer.from('new'))
    expect(readFileSync(join(daemon.sharedDir, 'old'), 'utf8')).toBe('new')
  })
})

test('gives the socket to a group of the user’s that the namespace has not', async () => {
  const { daemon } = await startAsUser(['--socket-group=cdrom'])
  expect(statSync(daemon.socketPath)).toMatchObject({ uid: UID, gid: CDROM })
  expect(statSync(daemon.socketPath).mode & 0o777).toBe(0o770)
})

test.each([[[]], [[...OWN_AS_ROOT, `--uid-map=:1:${DELEGATED}:1000:`, `--gid-map=:1:${DELEGATED}:1000:`]]])(
  'reaches what the user’s groups may, with %j',
  async (maps) => {
    const { client, daemon } = await startAsUser(maps)
    const path = join(daemon.sharedDir, 'of-group')
    writeFileSync(path, 'data')
    chownSync(path, 0, CDROM)
    chmodSync(path, 0o040)
    const { nodeid } = client.lookup(ROOT_ID, 'of-group')
    expect(client.read(nodeid, client.open(nodeid, 0), 0, 10)).toEqual(Buffer.from('data'))
    chownSync(path, 0, 0)
    expect(outcome(() => client.open(nodeid, 0))).toBe('EACCES')
  },
)

test('reads and writes what is the user’s, whatever its mode', async () => {
  const { client, daemon } = await startAsUser([])
  chmodSync(join(daemon.sharedDir, 'old'), 0o000)
  const { nodeid } = client.lookup(ROOT_ID, 'old')
  const fh = client.open(nodeid, 2)
  client.write(nodeid, fh, 0, Buffer.from('new'))
  expect(readFileSync(join(daemon.sharedDir, 'old'), 'utf8')).toBe('new')
})
