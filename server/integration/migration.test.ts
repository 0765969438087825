// SPDX-License-Identifier: Apache-2.0
/** A guest that is moved from one daemon to another. */
import {
  constants,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Errno } from '../errno.ts'
import { mountBadDisk } from './harness/bad-disk.ts'
import type { Daemon } from './harness/daemon.ts'
import {
  checkState,
  connectAgain,
  continueDevice,
  loadState,
  migrate,
  saveState,
  stopDevice,
} from './harness/migration.ts'
import { virtiofsdProgram } from '../../e2e/rig/virtiofsd.ts'
import { killServer } from './harness/serving-process.ts'
import { outcome, type Session, type SessionOptions, startDaemon, startSession } from './harness/session.ts'
import { ProtocolFeature } from './harness/vhost-user.ts'
import { type FuseClient, GUEST_INIT_FLAGS } from './harness/fuse-client.ts'
import { InitFlag, ROOT_ID } from './harness/fuse-abi.ts'

const { O_RDONLY, O_RDWR } = constants
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

/** A daemon that shares the same directory. */
function neighbour(session: Session, options: SessionOptions = {}): Daemon {
  return startDaemon({ sharedDir: session.daemon.sharedDir, ...options })
}

function makeFiles(directory: string): void {
  mkdirSync(join(directory, 'a/b'), { recursive: true })
  writeFileSync(join(directory, 'a/b/deep'), 'deep')
  writeFileSync(join(directory, 'top'), 'top')
  writeFileSync(join(directory, 'twin'), 'twin')
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x66, 0xff, 0xfe])]), 'bytes')
  symlinkSync('a/b/deep', join(directory, 'link'))
  for (let i = 0; i < 300; i++) writeFileSync(join(directory, 'a', `entry-${i}`), '')
}

/** What a device that is stopped for it has. */
function saveOf(session: Session): Buffer | undefined {
  return saveState(stopDevice(session).session)
}

/** Names from an offset on. */
function listAll(client: FuseClient, nodeid: bigint, fh: bigint, from = 0n): string[] {
  const names: string[] = []
  for (let offset = from; ; ) {
    const more = client.readdir(nodeid, fh, offset)
    const last = more.at(-1)
    if (last === undefined) return names
    names.push(...more.map(({ name }) => name))
    offset = last.offset
  }
}

const HANDLES = ['--migration-mode=file-handles']

describe.each([
  ['by path', [], []],
  ['by path, verified', ['--migration-verify-handles', '--migration-confirm-paths'], []],
  ['by handle', HANDLES, HANDLES],
  ['by path, of daemons that start servers anew', ['--on-crash=restart'], ['--on-crash=restart']],
  ['by path, without handles at either end', ['--inode-file-handles=never'], ['--inode-file-handles=never']],
])('%s', (_name, ours, theirs) => {
  test('inodes, open files and directories go on', async () => {
    const session = await startSession({ args: ours })
    makeFiles(session.daemon.sharedDir)
    const { client } = session
    const deep = client.walk('a/b/deep').nodeid
    const fh = client.open(deep, O_RDWR)
    const bytes = client.lookup(ROOT_ID, Buffer.from([0x66, 0xff, 0xfe])).nodeid
    const link = client.lookup(ROOT_ID, 'link').nodeid
    const { nodeid: directory } = client.lookup(ROOT_ID, 'a')
    const list = client.opendir(directory)
    const first = client.readdir(directory, list, 0n)
    // Known by the guest, and named otherwise by somebody on the host since.
    const { nodeid: top } = client.lookup(ROOT_ID, 'top')
    const { sharedDir } = session.daemon
    renameSync(join(sharedDir, 'top'), join(sharedDir, 'a/other'))
    // Gone, and not forgotten yet.
    const gone = client.create(ROOT_ID, 'gone', O_RDWR)
    client.unlink(ROOT_ID, 'gone')
    client.release(gone.entry.nodeid, gone.fh)
    const { nodeid: twin } = client.lookup(ROOT_ID, 'twin')
    linkSync(join(sharedDir, 'twin'), join(sharedDir, 'a/b/twin'))
    unlinkSync(join(sharedDir, 'twin'))

    const { client: moved, daemon } = await migrate(session, neighbour(session, { args: theirs }))
    expect(text(moved.read(deep, fh, 0, 100))).toBe('deep')
    expect(moved.write(deep, fh, 0, Buffer.from('DEEP'))).toBe(4)
    expect(readFileSync(join(daemon.sharedDir, 'a/b/deep'), 'utf8')).toBe('DEEP')
    expect(text(moved.read(bytes, moved.open(bytes, O_RDONLY), 0, 100))).toBe('bytes')
    expect(text(moved.readlink(link))).toBe('a/b/deep')
    expect(moved.getattr(top).size).toBe(3)
    expect(moved.getattr(twin).size).toBe(4)
    expect(outcome(() => moved.getattr(gone.entry.nodeid))).toBe('ESTALE')
    // The name under which it is held is gone.
    const searched = ours.includes('--inode-file-handles=never')
    expect(session.daemon.log.includes('looking through the whole share')).toBe(searched)
    const names = [...first.map(({ name }) => name), ...listAll(moved, directory, list, first.at(-1)?.offset)]
    expect(names.filter((name) => name.startsWith('entry-'))).toHaveLength(300)
    expect(new Set(names).size).toBe(names.length)
    // The same inode has the same nodeid as before, and new ones are new.
    expect(moved.walk('a/b/deep').nodeid).toBe(deep)
    writeFileSync(join(daemon.sharedDir, 'new'), '')
    expect([deep, bytes, link, directory, top]).not.toContain(moved.lookup(ROOT_ID, 'new').nodeid)
    moved.release(deep, fh)
    expect(outcome(() => moved.read(deep, fh, 0, 1))).toBe('EBADF')
    moved.forget(deep, 2)
    moved.getattr(ROOT_ID)
    expect(outcome(() => moved.getattr(deep))).toBe('ESTALE')
  })
})

test('there and back, and the guest unmounts', async () => {
  const session = await startSession({})
  makeFiles(session.daemon.sharedDir)
  const { nodeid } = session.client.walk('a/b/deep')
  const fh = session.client.open(nodeid, O_RDWR)
  const there = await migrate(session, neighbour(session))
  there.client.write(nodeid, fh, 4, Buffer.from('er'))
  const back = await migrate(there, neighbour(session))
  expect(text(back.client.read(nodeid, fh, 0, 100))).toBe('deeper')
  back.client.destroy()
  expect(outcome(() => back.client.getattr(ROOT_ID))).toBe('ENOTCONN')
})

test('a guest that has not mounted can be moved, and mounts', async () => {
  const session = await startSession({ noInit: true })
  const { client } = await migrate(session, neighbour(session))
  expect(outcome(() => client.getattr(ROOT_ID))).toBe('ENOTCONN')
  client.init()
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test('by handle, an open file without a name goes on', async () => {
  const session = await startSession({ args: HANDLES })
  const { entry, fh } = session.client.create(ROOT_ID, 'file', O_RDWR)
  session.client.write(entry.nodeid, fh, 0, Buffer.from('unlinked'))
  session.client.unlink(ROOT_ID, 'file')
  const { client } = await migrate(session, neighbour(session, { args: HANDLES }))
  await session.daemon.kill()
  expect(text(client.read(entry.nodeid, fh, 0, 100))).toBe('unlinked')
  // Also by its nodeid alone.
  expect(client.getattr(entry.nodeid).size).toBe(8)
})

async function withoutName(): Promise<{ session: Session; nodeid: bigint; fh: bigint; state: Buffer }> {
  const session = await startSession({})
  const { entry, fh } = session.client.create(ROOT_ID, 'file', O_RDWR)
  writeFileSync(join(session.daemon.sharedDir, 'other'), 'other')
  session.client.lookup(ROOT_ID, 'other')
  session.client.unlink(ROOT_ID, 'file')
  const stopped = stopDevice(session)
  const state = saveState(stopped.session)
  if (state === undefined) throw new Error('not saved')
  return { session, nodeid: entry.nodeid, fh, state }
}

describe('what has no path', () => {
  test('fails the migration, and the guest goes on where it was', async () => {
    const { session, nodeid, fh, state } = await withoutName()
    const target = neighbour(session)
    expect(loadState(await connectAgain(target), target, state)).toBe(false)
    expect(target.log).toMatch(new RegExp(`not found again: inode ${nodeid} \\(ENOENT\\), open file ${fh} \\(EIO\\)`))
    expect(target.log).toContain('--migration-on-error')
    session.frontend.resume(session.queues.map((queue) => queue.availableIndex))
    expect(session.client.write(nodeid, fh, 0, Buffer.from('on'))).toBe(2)
  })

  test('or only the guest’s use of it', async () => {
    const { session, nodeid, fh, state } = await withoutName()
    const bases = session.queues.map((queue) => queue.availableIndex)
    const target = neighbour(session, { args: ['--migration-on-error=guest-error'] })
    const frontend = await connectAgain(target)
    expect(loadState(frontend, target, state)).toBe(true)
    const moved = continueDevice({ session, bases }, frontend, target)
    const { client } = moved
    expect(outcome(() => client.read(nodeid, fh, 0, 1))).toBe('EIO')
    expect(outcome(() => client.getattr(nodeid))).toBe('EIO')
    expect(outcome(() => client.getxattr(nodeid, 'user.x', 10))).toBe('EIO')
    expect(client.lookup(ROOT_ID, 'other').attr.size).toBe(5)
    expect(target.log.match(/not found again/g)).toHaveLength(1)
    // It is lost wherever the guest goes on; and forgotten with its last lookup.
    const again = await migrate(moved, neighbour(session, { args: ['--migration-on-error=guest-error'] }))
    expect(outcome(() => again.client.getattr(nodeid))).toBe('EIO')
    again.client.forget(nodeid, 1)
    again.client.getattr(ROOT_ID)
    expect(outcome(() => again.client.getattr(nodeid))).toBe('ESTALE')
  })
})

test('what the guest has written to open files is written out before it goes', async () => {
  const disk = await mountBadDisk()
  for (const name of ['read', 'written']) writeFileSync(join(disk.backing, name), '')
  const session = await startSession({ sharedDir: disk.mountPoint })
  const { client } = session
  client.open(client.lookup(ROOT_ID, 'read').nodeid, O_RDONLY)
  const { nodeid } = client.lookup(ROOT_ID, 'written')
  const fh = client.open(nodeid, O_RDWR)
  client.write(nodeid, fh, 0, Buffer.from('text'))
  stopDevice(session)
  const rule = await disk.fail('flush', Errno.EIO)
  expect(saveState(session)).toBeUndefined()
  expect(session.daemon.log).toContain("what the guest has written to open files can't be written out (EIO)")
  await rule.end()
  const before = (await disk.counts())['flush'] ?? 0
  expect(saveState(session)).toBeInstanceOf(Buffer)
  expect((await disk.counts())['flush']).toBe(before + 1)
  session.frontend.resume(session.queues.map((queue) => queue.availableIndex))
  expect(text(client.read(nodeid, fh, 0, 100))).toBe('text')
})

test('another file at the same path is found out with --migration-verify-handles', async () => {
  const session = await startSession({ args: ['--migration-verify-handles'] })
  const path = join(session.daemon.sharedDir, 'file')
  writeFileSync(path, 'one')
  const { nodeid } = session.client.lookup(ROOT_ID, 'file')
  stopDevice(session)
  const state = saveState(session)
  renameSync(path, `${path}-of-before`)
  writeFileSync(path, 'another')
  const target = neighbour(session)
  expect(loadState(await connectAgain(target), target, state ?? Buffer.alloc(0))).toBe(false)
  expect(target.log).toContain(`inode ${nodeid} (ESTALE)`)
})

test('inodes are opened by handle only where both daemons are told to', async () => {
  const session = await startSession({ args: HANDLES })
  makeFiles(session.daemon.sharedDir)
  session.client.walk('a/b/deep')
  stopDevice(session)
  const state = saveState(session) ?? Buffer.alloc(0)
  const target = neighbour(session)
  expect(loadState(await connectAgain(target), target, state)).toBe(false)
  expect(target.log).toContain('--migration-mode=file-handles')
})

test.each([
  ['--writeback', ['--writeback']],
  ['--posix-acl', ['--posix-acl=always']],
])('what the guest has agreed to is asked for: %s', async (option, args) => {
  const session = await startSession({ args })
  stopDevice(session)
  const state = saveState(session) ?? Buffer.alloc(0)
  const target = neighbour(session)
  expect(loadState(await connectAgain(target), target, state)).toBe(false)
  expect(target.log).toContain(`this daemon is not started with: ${option}`)
})

test('a state that is none changes nothing', async () => {
  const session = await startSession({ args: ['--keep-listening'] })
  for (const state of [Buffer.alloc(0), Buffer.from([1]), Buffer.alloc(100_000, 0xff)]) {
    const target = neighbour(session)
    const frontend = await connectAgain(target)
    expect(loadState(frontend, target, state)).toBe(false)
    expect(target.log).toContain("the state of the device can't be loaded")
    frontend.close()
  }
})

test('only a device that is stopped has a state', async () => {
  const session = await startSession({})
  expect(saveState(session)).toBeUndefined()
  stopDevice(session)
  expect(saveState(session)).toBeInstanceOf(Buffer)
})

test('a guest with a window has to unmount first', async () => {
  const session = await startSession({ window: 'shmem', initFlags: GUEST_INIT_FLAGS | InitFlag.MAP_ALIGNMENT })
  expect(saveOf(session)).toBeUndefined()
  expect(session.daemon.log).toContain('the guest has a DAX window: it has to unmount first')
  expect(session.daemon.log).toContain('QEMU migrates no device that can have one')
  session.frontend.resume(session.queues.map((queue) => queue.availableIndex))
  session.client.destroy()
  expect(saveOf(session)).toBeInstanceOf(Buffer)
})

test('locks of the host do not move: no state is offered', async () => {
  const session = await startSession({ args: ['--posix-locks'] })
  expect(session.frontend.offeredProtocolFeatures & ProtocolFeature.DEVICE_STATE).toBe(0n)
})

test.each([[[]], [['--on-crash=restart']]])(
  'a guest that comes without its state gets EIO, and the log tells once (%j)',
  async (args) => {
    const session = await startSession({})
    session.client.getattr(ROOT_ID)
    const stopped = stopDevice(session)
    const target = neighbour(session, { args })
    const { client } = continueDevice(stopped, await connectAgain(target), target)
    expect(outcome(() => client.getattr(ROOT_ID))).toBe('EIO')
    expect(outcome(() => client.lookup(ROOT_ID, 'x'))).toBe('EIO')
    await target.until(() => target.log.includes('state-missing'), 'line of the log')
    expect(target.log.match(/it has to mount again/g)).toHaveLength(1)
    client.init()
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  },
)

const GOES_ON = { written: 4, read: 'DEEP', link: 'a/b/deep', entries: 300, sameNodeid: true, released: 'EBADF' }

async function move(from: SessionOptions, to: SessionOptions): Promise<typeof GOES_ON> {
  const session = await startSession(from)
  makeFiles(session.daemon.sharedDir)
  const { client } = session
  const deep = client.walk('a/b/deep').nodeid
  const fh = client.open(deep, O_RDWR)
  const link = client.lookup(ROOT_ID, 'link').nodeid
  const { nodeid: directory } = client.lookup(ROOT_ID, 'a')
  const list = client.opendir(directory)
  const moved = (await migrate(session, neighbour(session, to))).client
  const goesOn = {
    written: moved.write(deep, fh, 0, Buffer.from('DEEP')),
    read: text(moved.read(deep, fh, 0, 100)),
    link: text(moved.readlink(link)),
    entries: listAll(moved, directory, list).filter((name) => name.startsWith('entry-')).length,
    sameNodeid: moved.walk('a/b/deep').nodeid === deep,
  }
  moved.release(deep, fh)
  return { ...goesOn, released: outcome(() => moved.read(deep, fh, 0, 1)) }
}

describe('virtiofsd', () => {
  const OPTIONS = ['--inode-file-handles=never']
  test('sends, and viewfsd takes', async () => {
    expect(await move({ program: await virtiofsdProgram() }, {})).toEqual(GOES_ON)
  })

  test('takes what viewfsd sends', async () => {
    expect(await move({ args: OPTIONS }, { program: await virtiofsdProgram() })).toEqual(GOES_ON)
  })

  test('and viewfsd agree on handles', async () => {
    const program = await virtiofsdProgram()
    const args = ['--inode-file-handles=mandatory', ...HANDLES]
    expect(await move({ program, args }, { args: HANDLES })).toEqual(GOES_ON)
    expect(await move({ args: HANDLES }, { program, args })).toEqual(GOES_ON)
  })
})

test('servers may be killed before, meanwhile and afterwards', async () => {
  const args = ['--on-crash=restart']
  const session = await startSession({ args })
  const { daemon: sender, client } = session
  writeFileSync(join(sender.sharedDir, 'file'), 'file')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR)
  await killServer(sender)
  const stopped = stopDevice(session)
  await killServer(sender)
  const state = saveState(session)
  await killServer(sender)
  expect(checkState(session.frontend)).toBe(false)
  const receiver = neighbour(session, { args })
  const frontend = await connectAgain(receiver, {})
  expect(loadState(frontend, receiver, state ?? Buffer.alloc(0))).toBe(true)
  await killServer(receiver)
  const { client: moved } = continueDevice(stopped, frontend, receiver)
  expect(text(moved.read(nodeid, fh, 0, 100))).toBe('file')
  await killServer(receiver)
  expect(moved.write(nodeid, fh, 4, Buffer.from('s'))).toBe(1)
  expect(readFileSync(join(sender.sharedDir, 'file'), 'utf8')).toBe('files')
})
