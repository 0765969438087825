// SPDX-License-Identifier: Apache-2.0
/** --on-crash=restart: the serving process is killed, and the guest goes on. */
import { spawnSync } from 'node:child_process'
import { constants, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import type { Daemon } from './harness/daemon.ts'
import { Frontend } from './harness/frontend.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { killServer } from './harness/serving-process.ts'
import { outcome, startDevice, startSession } from './harness/session.ts'

/** Whoever is not root has no file handles, so that descriptors hold all inodes. */
const NOBODY = 65534

test.each([
  ['namespace', 0],
  ['namespace', NOBODY],
  ['chroot', 0],
  ['none', 0],
] as const)(
  'goes on with inodes, handles, directories and what has no name any more (%s, uid %i)',
  async (sandbox, uid) => {
    const session = await startSession({
      args: ['--on-crash=restart', `--sandbox=${sandbox}`],
      ...(uid === 0 ? {} : { uid }),
    })
    const { client, daemon, frontend, queues } = session
    const { entry, fh } = client.create(ROOT_ID, 'file', 2)
    client.write(entry.nodeid, fh, 0, Buffer.from('before '))
    const gone = client.create(ROOT_ID, 'gone', 2)
    client.write(gone.entry.nodeid, gone.fh, 0, Buffer.from('unlinked'))
    client.unlink(ROOT_ID, 'gone')
    const directory = client.mkdir(ROOT_ID, 'directory')
    const open = client.opendir(ROOT_ID)
    const first = client.readdir(ROOT_ID, open, 0n, 64)
    for (let round = 0; round < 3; round++) {
      await killServer(daemon)
      client.write(entry.nodeid, fh, 7 + round, Buffer.from([0x30 + round]))
      expect(client.read(gone.entry.nodeid, gone.fh, 0, 100)).toEqual(Buffer.from('unlinked'))
      expect(client.getattr(gone.entry.nodeid).nlink).toBe(0)
      client.mknod(directory.nodeid, `made-${round}`, 0o100644)
    }
    expect(readFileSync(join(daemon.sharedDir, 'file'), 'utf8')).toBe('before 012')
    expect(readdirSync(join(daemon.sharedDir, 'directory'))).toEqual(['made-0', 'made-1', 'made-2'])
    const rest = client.readdir(ROOT_ID, open, first.at(-1)?.offset ?? 0n)
    expect([...first, ...rest].map(({ name }) => name).toSorted()).toEqual(['.', '..', 'directory', 'file'])
    client.rename(ROOT_ID, 'file', directory.nodeid, 'moved')
    // The frontend's connection is the same, and the rings are where they were.
    const bases = frontend.stop()
    expect(bases).toEqual(queues.map((queue) => queue.availableIndex))
    frontend.resume(bases)
    expect(client.lookup(directory.nodeid, 'moved').nodeid).toBe(entry.nodeid)
  },
)

/** Ends the server by a fault of its own, so that it counts as a crash. */
const CRASH = 'SIGSEGV'

test('fails a request with which server after server crashes, and goes on', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'slow'), 'slow')
  const session = await startSession({ sharedDir: disk.mountPoint, args: ['--on-crash=restart'] })
  const { client, daemon, transport } = session
  const { nodeid } = client.lookup(ROOT_ID, 'slow')
  const rule = await disk.stall('read', { path: '/slow' })
  const fh = client.open(nodeid, constants.O_RDONLY)
  const read = client.startRead(nodeid, fh, 0, 4096)
  await rule.hit()
  // A server that is killed by somebody else does not count.
  for (const signal of [CRASH, 'SIGKILL', CRASH] as const) {
    await killServer(daemon, signal)
    // Comes after what the server before it has left.
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
    expect(read.done).toBe(false)
  }
  await killServer(daemon, CRASH)
  expect(outcome(() => transport.wait(read))).toBe('EIO')
  await daemon.until(() => logged(daemon, 'request-deadly') === 1, 'a line of the log')
  await rule.end()
  expect(Buffer.from(client.read(nodeid, fh, 0, 4096)).toString()).toBe('slow')
})

test('fails all requests once ten servers have crashed within a minute', async () => {
  const { client, daemon } = await startSession({ args: ['--on-crash=restart'] })
  for (let crash = 1; crash < 10; crash++) await killServer(daemon, CRASH)
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  await killServer(daemon, CRASH)
  expect(outcome(() => client.getattr(ROOT_ID))).toBe('EIO')
  expect(daemon.log).toContain('"server-crashing"')
  expect(ctl(daemon, 'status').stdout).toMatch(
    /^restarts +10, the last one .* ago: SIGSEGV, .*: EVERY REQUEST GETS EIO$/m,
  )
})

test('ends as it does without, when it is asked to, and when the frontend leaves', async () => {
  const asked = await startSession({ args: ['--on-crash=restart'] })
  asked.daemon.signal('SIGTERM')
  expect(await asked.daemon.exit()).toEqual({ code: 0, signal: null })
  const left = await startSession({ args: ['--on-crash=restart'] })
  await killServer(left.daemon)
  left.frontend.close()
  expect(await left.daemon.exit()).toEqual({ code: 0, signal: null })
})

test('serves one frontend after the other with --keep-listening', async () => {
  const { daemon, frontend } = await startSession({ args: ['--on-crash=restart', '--keep-listening'] })
  frontend.close()
  await daemon.until(() => logged(daemon, 'frontend-disconnected') === 1, 'the end of the first one')
  const other = new Frontend(await daemon.connect())
  onTestFinished(() => other.close())
  // It says nothing before the daemon has it.
  await daemon.until(() => logged(daemon, 'frontend-connected') === 2, 'the second one')
  other.realize()
  const { client } = startDevice(daemon, other)
  await killServer(daemon)
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

/** What the daemon has logged of this event. */
function logged(daemon: Daemon, event: string): number {
  return daemon.log.split(`"event":"${event}"`).length - 1
}

test('goes on in the program that is installed, on SIGHUP and for viewfsdctl', async () => {
  const { client, daemon } = await startSession({ args: ['--on-crash=restart'] })
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  for (let upgrade = 1; upgrade <= 2; upgrade++) {
    client.write(entry.nodeid, fh, upgrade - 1, Buffer.from(String(upgrade)))
    if (upgrade % 2 === 0) expect(ctl(daemon, 'upgrade')).toMatchObject({ status: 0, stderr: '' })
    else daemon.signal('SIGHUP')
    await daemon.until(() => logged(daemon, 'server-restarted') === upgrade, 'the next server')
    expect(logged(daemon, 'handing-over')).toBe(upgrade)
  }
  expect(daemon.log).not.toContain('ended the serving process')
  expect(Buffer.from(client.read(entry.nodeid, fh, 0, 10)).toString()).toBe('12')
  expect(ctl(daemon, 'status').stdout).toMatch(/^restarts +2, the last one .* ago: upgrade$/m)
})

test('gives nothing up for a program of another version', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-upgrade-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const program = join(directory, 'viewfsd')
  symlinkSync(join(import.meta.dirname, '../../dist/server/main.js'), program)
  const { client, daemon } = await startSession({ program, args: ['--on-crash=restart', '--window=none'] })
  rmSync(program)
  // As one does whose state has another version.
  writeFileSync(program, 'process.exit(1)')
  daemon.signal('SIGHUP')
  await daemon.until(() => daemon.log.includes('can not go on'), 'a refusal')
  expect(logged(daemon, 'handing-over')).toBe(0)
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test('refuses an upgrade where the guest would lose its file system', async () => {
  const { daemon } = await startSession()
  expect(ctl(daemon, 'upgrade').stderr).toContain('--on-crash=restart')
})

function ctl(daemon: Daemon, command: string): { status: number | null; stdout: string; stderr: string } {
  const program = join(import.meta.dirname, '../../dist/server/viewfsdctl.js')
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, `--socket=${daemon.socketPath}`, command], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}
