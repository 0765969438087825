// SPDX-License-Identifier: Apache-2.0
/** The daemon of an ordinary user, in a user namespace: whose the files are, on the host and for the guest. */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, type Session, startSession } from './harness/session.ts'

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

async function startAsUser(args: readonly string[]): Promise<Session> {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  const sharedDir = join(directory, 'share')
  mkdirSync(sharedDir)
  // The ids that are delegated have to reach it, too.
  chmodSync(directory, 0o755)
  writeFileSync(join(sharedDir, 'old'), 'old', { mode: 0o600 })
  const session = await startSession({
    sharedDir,
    uid: UID,
    gid: GID,
    through: ['unshare', '-m', 'sh', '-ec', BECOME_USER, 'sh', join(directory, 'delegated')],
    args: ['--sandbox=namespace', '--seccomp=kill', ...args],
  })
  chmodSync(sharedDir, 0o777)
  return session
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

function owner({ uid, gid }: Owner): string {
  return `${uid}:${gid}`
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
    made: [`${UID}:${GID}`, `${UID}:${GID}`, 'EINVAL'],
    shown: `${UID}:${GID}`,
  },
  { maps: OWN_AS_ROOT, seen: '0:0', made: [`${UID}:${GID}`, 'EINVAL', 'EINVAL'], shown: '0:0' },
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
    made: [`300000:${GID}`, `300005:${GID}`, 'EINVAL'],
    shown: `0:${GID}`,
  },
])('with $maps', ({ maps, seen, made, shown }) => {
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
