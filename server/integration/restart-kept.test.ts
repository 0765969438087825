// SPDX-License-Identifier: Apache-2.0
/** --on-crash=restart: what of locks and of other mounts a guest has after the serving process was killed. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { killServer } from './harness/serving-process.ts'
import { outcome, startSession } from './harness/session.ts'
import { pack } from './harness/wire.ts'

const SETLK = 32
const SETLKW = 33
const FLUSH = 25
const RELEASE = 18
const WRITE_LOCK = 1
const FLOCK = 1
const FLOCK_UNLOCK = 2
const O_RDWR = 2

function lockArguments(fh: bigint, owner: bigint, type: number, flags = 0): Uint8Array {
  return pack(
    ['u64', fh],
    ['u64', owner],
    ['u64', 0n],
    ['u64', 0x7fff_ffff_ffff_ffffn],
    ['u32', type],
    ['u32', 1],
    ['u32', flags],
    ['u32', 0],
  )
}

test('locks stay locked, and whoever waits for one gets it', async () => {
  const { client, daemon, transport } = await startSession({
    args: ['--on-crash=restart', '--posix-locks', '--flocks'],
  })
  const file = join(daemon.sharedDir, 'file')
  writeFileSync(file, '')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const [fh, second, third] = [client.open(nodeid, O_RDWR), client.open(nodeid, O_RDWR), client.open(nodeid, O_RDWR)]
  const lock = (opcode: number, owner: bigint): PendingRequest =>
    transport.submit(opcode, nodeid, lockArguments(fh, owner, WRITE_LOCK))
  const flock = (of: bigint): PendingRequest =>
    transport.submit(SETLK, nodeid, lockArguments(of, 0n, WRITE_LOCK, FLOCK))
  const flush = (owner: bigint): PendingRequest =>
    transport.submit(FLUSH, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0], ['u64', owner]))
  transport.wait(lock(SETLK, 1n))
  transport.wait(flock(second))
  const waiting = lock(SETLKW, 2n)
  for (let round = 0; round < 2; round++) {
    await killServer(daemon)
    expect(outcome(() => transport.wait(lock(SETLK, 3n)))).toBe('EAGAIN')
    expect(outcome(() => transport.wait(flock(third)))).toBe('EAGAIN')
    // The host's programs see them, too.
    expect(spawnSync('flock', ['--nonblock', file, 'true']).status).toBe(1)
    expect(waiting.done).toBe(false)
  }
  transport.wait(flush(1n))
  transport.wait(waiting)
  expect(outcome(() => transport.wait(lock(SETLK, 3n)))).toBe('EAGAIN')
  transport.wait(
    transport.submit(RELEASE, nodeid, pack(['u64', second], ['u32', 0], ['u32', FLOCK_UNLOCK], ['u64', 0n])),
  )
  transport.wait(flock(third))
  await killServer(daemon)
  transport.wait(flush(2n))
  transport.wait(lock(SETLK, 3n))
})

/** A tmpfs there until the test ends. */
function tmpfs(mountPoint: string): void {
  execFileSync('mount', ['-t', 'tmpfs', 'viewfsd-test', mountPoint])
  onTestFinished(() => void spawnSync('umount', ['--lazy', mountPoint], { stdio: 'ignore' }))
}

test.each([
  ['by handle', ['--announce-submounts']],
  ['in one space of inode numbers', ['--no-announce-submounts']],
  ['by descriptor', ['--inode-file-handles=never']],
  ['with chroot', ['--sandbox=chroot']],
  ['without a sandbox', ['--sandbox=none']],
])('what is in mounts below the share goes on, %s', async (_, args) => {
  const scratch = mkdtempSync(join(tmpdir(), 'restart-'))
  tmpfs(scratch)
  execFileSync('mount', ['--make-shared', scratch])
  const share = join(scratch, 'share')
  const outer = join(share, 'a', 'outer')
  mkdirSync(outer, { recursive: true })
  tmpfs(outer)
  mkdirSync(join(outer, 'b', 'inner'), { recursive: true })
  tmpfs(join(outer, 'b', 'inner'))
  writeFileSync(join(outer, 'b', 'inner', 'file'), 'below')
  const { client, daemon } = await startSession({ args: ['--on-crash=restart', ...args], sharedDir: share })
  const walk = (...names: string[]): bigint =>
    names.reduce((parent, name) => client.lookup(parent, name).nodeid, ROOT_ID)
  const b = walk('a', 'outer', 'b')
  const inner = walk('a', 'outer', 'b', 'inner')
  const file = walk('a', 'outer', 'b', 'inner', 'file')
  const ino = client.getattr(file).ino
  const fh = client.open(file, O_RDWR)
  const open = client.opendir(inner)
  for (let round = 0; round < 2; round++) {
    await killServer(daemon)
    expect(Buffer.from(client.read(file, fh, 0, 10)).toString()).toBe('below')
    expect(client.getattr(file).ino).toBe(ino)
    expect(client.lookup(inner, 'file')).toMatchObject({ nodeid: file, attr: { ino } })
    expect(walk('a', 'outer', 'b', 'inner')).toBe(inner)
    client.release(file, client.open(file, O_RDWR))
    expect(client.readdir(inner, open, 0n).map(({ name }) => name)).toContain('file')
    client.mknod(b, `made-${round}`, 0o100644)
  }
})
