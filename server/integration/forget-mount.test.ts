// SPDX-License-Identifier: Apache-2.0
/** `viewfsdctl forget`: the host unmounts what the guest has in use. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { MappingFlag, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'
import { startWindowSession } from './harness/window-session.ts'

const RANGE = 2 << 20
const VIEWFSDCTL = resolve(import.meta.dirname, '../../dist/server/viewfsdctl.js')
const O_RDWR = 2

/** A tmpfs there until the test ends. */
function tmpfs(mountPoint: string): void {
  execFileSync('mount', ['-t', 'tmpfs', 'viewfsd-test', mountPoint])
  onTestFinished(() => void spawnSync('umount', ['--lazy', mountPoint], { stdio: 'ignore' }))
}

test.each([
  ['by handle', []],
  ['by descriptor', ['--inode-file-handles=never']],
  ['without a sandbox', ['--sandbox=none']],
])('a mount with open files below the share, %s', async (_, args) => {
  const scratch = mkdtempSync(join(tmpdir(), 'forget-'))
  tmpfs(scratch)
  // As systemd has made every mount of an ordinary host.
  execFileSync('mount', ['--make-shared', scratch])
  const share = join(scratch, 'share')
  const mounted = join(share, 'backup', 'disk')
  mkdirSync(mounted, { recursive: true })
  writeFileSync(join(mounted, 'file'), 'what lies below')
  // The very same name and, as may well be, inode number.
  tmpfs(mounted)
  writeFileSync(join(mounted, 'file'), 'on the disk')
  mkdirSync(join(mounted, 'directory'))

  const { client, daemon } = await startSession({ args, sharedDir: share })
  const ctl = (...words: readonly string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [VIEWFSDCTL, `--socket=${daemon.socketPath}`, ...words], { encoding: 'utf8' })
  const backup = client.lookup(ROOT_ID, 'backup')
  const disk = client.lookup(backup.nodeid, 'disk')
  const file = client.lookup(disk.nodeid, 'file')
  const directory = client.lookup(disk.nodeid, 'directory')
  const fh = client.open(file.nodeid, O_RDWR)
  const listing = client.opendir(directory.nodeid)
  const read = (): string => Buffer.from(client.read(file.nodeid, fh, 0, 100)).toString()
  expect(read()).toBe('on the disk')
  // What has lost its name is held by descriptor.
  const gone = client.create(disk.nodeid, 'gone', O_RDWR)
  client.unlink(disk.nodeid, 'gone')

  expect(spawnSync('umount', [mounted]).status).not.toBe(0)
  expect(ctl('forget', join(share, 'backup'))).toMatchObject({
    status: 1,
    stderr: 'viewfsdctl: nothing is mounted there\n',
  })
  expect(ctl('forget', join(share, 'none'))).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('no such directory'),
  })
  expect(ctl('forget', scratch)).toMatchObject({ status: 1, stderr: expect.stringContaining('is not below') })
  expect(read()).toBe('on the disk')

  const { status, stdout, stderr } = ctl('--json', 'forget', mounted)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual({ inodes: 4, handles: 3, ranges: 0 })
  expect(spawnSync('umount', [mounted]).status).toBe(0)

  expect(outcome(read)).toBe('EBADF')
  expect(outcome(() => client.write(file.nodeid, fh, 0, new Uint8Array(1)))).toBe('EBADF')
  expect(outcome(() => client.readdir(directory.nodeid, listing, 0n))).toBe('EBADF')
  for (const { nodeid } of [disk, file, directory, gone.entry])
    expect(outcome(() => client.getattr(nodeid))).toBe('ESTALE')
  expect(outcome(() => client.open(file.nodeid, 0))).toBe('ESTALE')
  // What the guest does not know it has lost yet, it may give up.
  client.release(file.nodeid, fh)
  client.forget(file.nodeid, 1)
  client.getattr(backup.nodeid)

  const below = client.lookup(client.lookup(backup.nodeid, 'disk').nodeid, 'file')
  expect(below.nodeid).not.toBe(file.nodeid)
  const other = client.open(below.nodeid, 0)
  expect(Buffer.from(client.read(below.nodeid, other, 0, 100)).toString()).toBe('what lies below')
})

test('a mount whose files are in a window from which they can not be taken stays', async () => {
  const share = mkdtempSync(join(tmpdir(), 'forget-'))
  const mounted = join(share, 'disk')
  mkdirSync(mounted)
  tmpfs(mounted)
  writeFileSync(join(mounted, 'file'), Buffer.alloc(RANGE, 'x'))
  const { client, daemon } = await startWindowSession({ window: 'shmem', sharedDir: share })
  const file = client.lookup(client.lookup(ROOT_ID, 'disk').nodeid, 'file')
  client.setupMapping(file.nodeid, 0, RANGE, MappingFlag.READ, 0)
  const forget = (): string =>
    spawnSync(process.execPath, [VIEWFSDCTL, `--socket=${daemon.socketPath}`, 'forget', mounted], { encoding: 'utf8' })
      .stderr
  expect(forget()).toContain('would stop the guest')
  client.getattr(file.nodeid)
  client.removeMapping(file.nodeid, [{ moffset: 0, length: RANGE }])
  expect(forget()).toBe('')
  expect(outcome(() => client.getattr(file.nodeid))).toBe('ESTALE')
})
