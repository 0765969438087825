// SPDX-License-Identifier: Apache-2.0
/**
 * Storage that fails, is full, or vanishes: the request that meets it gets that error, those for other files go on meanwhile, and the
 * same request is carried out once the cause has gone. (faults.test.ts has what comes of it in windows; stalls.test.ts and pool.test.ts what
 * hangs.)
 */
import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { mountBadDisk } from './harness/bad-disk.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, type Session, startSession } from './harness/session.ts'
import { MisbehavingFs, type Operation } from './misbehaving-fs.ts'

const { O_RDWR, O_RDONLY } = constants

/** The kernel's FUSE client, below the share, passes these on as they are. */
const ERRORS = { EIO: 5, ENOMEM: 12, EMFILE: 24, ENOSPC: 28, ESTALE: 116, EDQUOT: 122 } as const

/** What meets the error, each of which can be done again and again. */
type Calls = readonly (readonly [Operation, () => unknown])[]

function callsOf({ client }: Session): Calls {
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR)
  let names = 0
  return [
    ['open', () => client.release(nodeid, client.open(nodeid, O_RDONLY))],
    ['write', () => client.write(nodeid, fh, 0, Buffer.from('data'))],
    ['fsync', () => client.fsync(nodeid, fh)],
    ['create', () => client.create(ROOT_ID, `new-${names++}`, O_RDWR)],
    ['mkdir', () => client.mkdir(ROOT_ID, `new-${names++}`)],
    ['symlink', () => client.symlink(ROOT_ID, `new-${names++}`, 'file')],
    ['chmod', () => client.setattr(nodeid, { valid: 1, mode: 0o600 })],
    ['truncate', () => client.setattr(nodeid, { valid: 8, size: 4 })],
    ['statfs', () => client.statfs(ROOT_ID)],
  ]
}

test('passes an error on to the request that meets it, and goes on afterwards', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), 'file')
  writeFileSync(join(disk.backing, 'other'), 'other')
  const session = await startSession({ sharedDir: disk.mountPoint })
  const { client } = session
  const other = client.lookup(ROOT_ID, 'other').nodeid
  const fh = client.open(other, O_RDWR)
  const calls = callsOf(session)
  for (const [name, errno] of Object.entries(ERRORS)) {
    for (const [operation, call] of calls) {
      const rule = await disk.fail(operation, errno)
      // It is not the guest's process that has too many files.
      expect(outcome(call), `${operation} ${name}`).toBe(name === 'EMFILE' ? 'ENFILE' : name)
      expect(Buffer.from(client.read(other, fh, 0, 100)).toString(), operation).toBe('other')
      await rule.end()
      expect(outcome(call), operation).toBe('ok')
    }
  }
  expect(session.daemon.alive).toBe(true)
})

test('says that a full file system is full, and goes on when there is room', async () => {
  const directory = makeScratch()
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,nr_inodes=8', 'tmpfs', directory])
  onTestFinished(() => {
    execFileSync('umount', ['-l', directory])
    removeScratch(directory)
  })
  const { client } = await startSession({ sharedDir: directory })
  const { entry, fh } = client.create(ROOT_ID, 'file', O_RDWR)
  const page = Buffer.alloc(65_536, 1)
  let written = 0
  const write = (): void => void (written += client.write(entry.nodeid, fh, written, page))
  while (outcome(write) === 'ok') if (written > 1 << 20) throw new Error('it has no end')
  expect(outcome(write)).toBe('ENOSPC')
  expect(outcome(() => client.fallocate(entry.nodeid, fh, 1 << 20, 4096, 0))).toBe('ENOSPC')
  expect(client.read(entry.nodeid, fh, 0, 65_536)).toEqual(page)
  client.setattr(entry.nodeid, { valid: 8, size: 0 })
  expect(client.write(entry.nodeid, fh, 0, page)).toBe(page.length)

  let names = 0
  const make = (): unknown => client.mkdir(ROOT_ID, `directory-${names++}`)
  while (outcome(make) === 'ok') if (names > 100) throw new Error('it has no end')
  expect(outcome(make)).toBe('ENOSPC')
  expect(client.getattr(entry.nodeid).size).toBe(page.length)
  rmSync(join(directory, 'directory-0'), { recursive: true })
  expect(outcome(make)).toBe('ok')
})

test('loses no more than an export that vanishes, and has it again when it is back', async () => {
  const directory = makeScratch()
  // The daemon's mounts are slaves of the host's.
  execFileSync('mount', ['--bind', directory, directory])
  execFileSync('mount', ['--make-shared', directory])
  onTestFinished(() => {
    execFileSync('umount', ['-R', '-l', directory])
    removeScratch(directory)
  })
  const [backing, shared] = [join(directory, 'backing'), join(directory, 'shared')]
  const mountPoint = join(shared, 'export')
  for (const path of [backing, shared, mountPoint]) mkdirSync(path)
  writeFileSync(join(backing, 'file'), 'exported')
  writeFileSync(join(shared, 'file'), 'local')
  const gone = await MisbehavingFs.mount(backing, mountPoint)
  const { client, daemon } = await startSession({ sharedDir: shared })
  const local = client.lookup(ROOT_ID, 'file').nodeid
  const fh = client.open(local, O_RDWR)
  const far = client.walk('export/file').nodeid
  const farFh = client.open(far, O_RDWR)
  await gone.kill()
  expect(outcome(() => client.write(far, farFh, 0, Buffer.from('x')))).toBe('ENOTCONN')
  expect(outcome(() => client.open(far, O_RDONLY))).toMatch(/ENOTCONN|ESTALE/)
  client.write(local, fh, 0, Buffer.from('LOCAL'))
  expect(Buffer.from(client.read(local, fh, 0, 100)).toString()).toBe('LOCAL')

  execFileSync('umount', ['-l', mountPoint])
  const back = await MisbehavingFs.mount(backing, mountPoint)
  onTestFinished(() => back.unmount())
  const again = client.walk('export/file').nodeid
  expect(Buffer.from(client.read(again, client.open(again, O_RDWR), 0, 100)).toString()).toBe('exported')
  expect(daemon.alive).toBe(true)
})
