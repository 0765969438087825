// SPDX-License-Identifier: Apache-2.0
/** From outside: how the real daemon's process and threads look to the kernel, and how its end is seen. */
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { connectFrontend, type Session, type SessionOptions, startDaemon, startSession } from './harness/session.ts'

const NOBODY = 65534
/** CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, MKNOD, SETFCAP. */
const MAY_HAVE = [0, 1, 2, 3, 4, 6, 7, 27, 31].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)

/** The fields of each thread's /proc/PID/task/TID/status. */
function threads(pid: number): Map<string, string>[] {
  return readdirSync(`/proc/${pid}/task`).map((id) => {
    const lines = readFileSync(`/proc/${pid}/task/${id}/status`, 'utf8').trim().split('\n')
    return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
  })
}

function expectBounded(pid: number, filtered: boolean, sets: readonly string[]): void {
  const all = threads(pid)
  // Node's own threads, the watchers' and the queues'.
  expect(all.length).toBeGreaterThan(8)
  for (const thread of all) {
    const name = `${thread.get('Name')} ${thread.get('Pid')}`
    expect(thread.get('Seccomp'), name).toBe(filtered ? '2' : '0')
    expect(thread.get('NoNewPrivs'), name).toBe('1')
    for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb', ...sets]) {
      expect(BigInt(`0x${thread.get(set)}`) & ~MAY_HAVE, `${name} ${set}`).toBe(0n)
    }
    // Whoever is not root has its capabilities by these.
    if (thread.get('Uid')?.startsWith('0\t') === true) {
      for (const set of ['CapInh', 'CapAmb']) expect(thread.get(set), `${name} ${set}`).toMatch(/^0+$/)
    }
  }
}

function namespace(pid: number | 'self', kind: string): string {
  return readlinkSync(`/proc/${pid}/ns/${kind}`)
}

/** A session whose queue threads all run: the last of them has started behind closed doors. */
async function startAllQueues(options: SessionOptions = {}): Promise<Session> {
  const session = await startSession({ ...options, queues: 4 })
  const { client, daemon } = session
  if (options.args?.includes('--readonly') === true) return session
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, Buffer.from('data'))
  expect(client.read(entry.nodeid, fh, 0, 10)).toEqual(Buffer.from('data'))
  expect(readFileSync(join(daemon.sharedDir, 'file'), 'utf8')).toBe('data')
  return session
}

beforeAll(() => {
  if (process.geteuid?.() !== 0) throw new Error('these tests need root')
})

describe.each([
  ['namespace', 'kill', 0],
  ['namespace', 'none', 0],
  ['namespace', 'kill', NOBODY],
  ['chroot', 'kill', 0],
  ['none', 'kill', 0],
  ['none', 'kill', NOBODY],
] as const)('--sandbox=%s --seccomp=%s as uid %i', (sandbox, seccomp, uid) => {
  test('bounds every thread before and while it serves', async () => {
    const { daemon, client } = await startAllQueues({
      uid,
      args: [`--sandbox=${sandbox}`, `--seccomp=${seccomp}`, '--xattr'],
    })
    const pid = daemon.servingPid
    // Who has no capabilities can't shrink the bounding set, and gains nothing by it (no_new_privs).
    const sets = sandbox === 'none' && uid !== 0 ? [] : ['CapBnd']
    expectBounded(pid, seccomp !== 'none', sets)
    const root = statSync(`/proc/${pid}/root/`)
    const share = statSync(sandbox === 'none' ? '/' : daemon.sharedDir)
    expect([root.dev, root.ino]).toEqual([share.dev, share.ino])
    for (const kind of ['mnt', 'pid', 'net']) {
      expect(namespace(pid, kind) !== namespace('self', kind), kind).toBe(sandbox === 'namespace')
    }
    expect(namespace(pid, 'user') !== namespace('self', 'user')).toBe(sandbox === 'namespace' && uid !== 0)
    expect(statSync(join(daemon.sharedDir, 'file')).uid).toBe(uid)

    // Attributes by way of /proc/self/fd, and a directory listing: what depends on paths elsewhere.
    const { nodeid } = client.lookup(ROOT_ID, 'file')
    client.setxattr(nodeid, 'user.key', Buffer.from('value'))
    expect(client.getxattr(nodeid, 'user.key', 100)).toEqual(Buffer.from('value'))
    client.symlink(ROOT_ID, 'link', '/etc/passwd')
    expect(client.readlink(client.lookup(ROOT_ID, 'link').nodeid)).toEqual(Buffer.from('/etc/passwd'))

    daemon.signal('SIGTERM')
    expect(await daemon.exit()).toEqual({ code: 0, signal: null })
    expect(existsSync(daemon.socketPath)).toBe(false)
  })
})

test('has no descriptor of anything outside but what it serves with', async () => {
  const { daemon } = await startAllQueues()
  const pid = daemon.servingPid
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
    // Seen from here: a mount that is not in any tree has paths of its own.
    const known =
      target.startsWith(daemon.directory) ||
      /^(\/|\/file|\/dev\/(null|memory-view|urandom|random)|anon_inode:.*|socket:.*|pipe:.*|\/memfd:.*)( \(deleted\))?$/.test(
        target,
      ) ||
      /^\/\d+\/fd$/.test(target)
    expect(known, `${fd}: ${target}`).toBe(true)
  }
})

test('is not fooled by what a guest puts where the system looks', async () => {
  const daemon = startDaemon()
  for (const path of ['proc/self', 'etc', 'sys/fs/cgroup', 'usr/lib', 'dev']) {
    mkdirSync(join(daemon.sharedDir, path), { recursive: true })
  }
  writeFileSync(
    join(daemon.sharedDir, 'proc/self/maps'),
    `${'0'.repeat(12)}-${'f'.repeat(12)} r-xp 00000000 00:00 1 /file\n`,
  )
  writeFileSync(join(daemon.sharedDir, 'proc/self/cgroup'), `0::/${'x'.repeat(10_000)}\n`)
  writeFileSync(join(daemon.sharedDir, 'proc/meminfo'), 'MemTotal: 99999999999999999999 kB\nMemAvailable: -1 kB\n')
  writeFileSync(join(daemon.sharedDir, 'etc/localtime'), 'TZif2')
  const frontend = await connectFrontend(daemon, { queues: 4 })
  expect(daemon.alive).toBe(true)
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test('passes the end of the daemon on, whatever it was', async () => {
  const crashed = (await startAllQueues()).daemon
  process.kill(crashed.servingPid, 'SIGKILL')
  expect(await crashed.exit()).toEqual({ code: null, signal: 'SIGKILL' })
  expect(existsSync(crashed.socketPath)).toBe(false)

  for (const signal of ['SIGKILL', 'SIGUSR2'] as const) {
    const orphaned = (await startAllQueues()).daemon
    const pid = orphaned.servingPid
    orphaned.signal(signal)
    expect(await orphaned.exit()).toEqual({ code: null, signal })
    await orphaned.until(() => !existsSync(`/proc/${pid}`), 'end of the daemon after its launcher')
  }
})

test('ends by a signal that comes before it is ready', async () => {
  const daemon = startDaemon()
  await daemon.until(() => daemon.servingPid !== daemon.pid, 'start of the launcher')
  daemon.signal('SIGTERM')
  const { code, signal } = await daemon.exit()
  expect(code === 0 || signal === 'SIGTERM').toBe(true)
})

test('writes the id into the PID file that whoever started it knows', async () => {
  const { daemon } = await startAllQueues()
  expect(Number(readFileSync(`${daemon.socketPath}.pid`, 'utf8'))).toBe(daemon.pid)
})

test('refuses to serve where the launcher has not bounded it', async () => {
  const daemon = startDaemon({
    env: { VIEWFSD_LAUNCHED: '-1,-1,-1,0', VIEWFSD_LISTENER: '0,-1,-1' },
    args: ['--seccomp=none'],
  })
  expect(await daemon.exit()).toEqual({ code: 1, signal: null })
  expect(daemon.log).toMatch(/no_new_privs/)
})

/** $1: a directory that becomes a second way to everything, and then the root directory of an ordinary user's command. */
const CHROOT_AS_USER = `
mount --make-rprivate /
mount --rbind / "$1"
exec chroot "$@"
`

test.each([
  ['root without CAP_SYS_ADMIN', ['setpriv', '--bounding-set=-sys_admin'], /new mount, pid and network namespaces/],
  [
    'a user in a chroot',
    ['unshare', '-m', 'sh', '-ec', CHROOT_AS_USER, 'sh', '<scratch>', 'setpriv', '--reuid=65534', '--clear-groups'],
    /new user, mount, pid and network namespaces/,
  ],
])('says in one line what to do where namespaces are not to be had: %s', async (_, through, what) => {
  const scratch = makeScratch()
  onTestFinished(() => removeScratch(scratch))
  const daemon = startDaemon({ uid: NOBODY, through: through.map((word) => (word === '<scratch>' ? scratch : word)) })
  expect(await daemon.exit()).toEqual({ code: 1, signal: null })
  expect(daemon.log).toMatch(what)
  expect(daemon.log).toMatch(/^viewfsd: [^\n]*--sandbox=none[^\n]*chroot[^\n]*Operation not permitted\n$/)
})

test.each([
  ['', 'rw'],
  ['--readonly', 'ro'],
])('mounts the shared directory without devices, programs and, with %j, %s', async (option, access) => {
  const { daemon } = await startAllQueues({ args: option === '' ? [] : [option] })
  const mounts = readFileSync(`/proc/${daemon.servingPid}/mountinfo`, 'utf8').trim().split('\n')
  expect(mounts).toHaveLength(1)
  expect(mounts[0]?.split(' ')[5]?.split(',').slice(0, 4)).toEqual([access, 'nosuid', 'nodev', 'noexec'])
})

test('shares the directory that its own programs are executed from', async () => {
  const session = await startSession({ sharedDir: dirname(process.execPath), args: ['--readonly'] })
  const { size } = session.client.lookup(ROOT_ID, basename(process.execPath)).attr
  expect(size).toBe(statSync(process.execPath).size)
})

test('shares the root directory, too', async () => {
  const session = await startSession({ sharedDir: '/', args: ['--readonly'] })
  expect(session.client.lookup(ROOT_ID, 'etc').attr.mode & 0o170000).toBe(0o040000)
  const etc = session.client.lookup(ROOT_ID, 'etc').nodeid
  expect(session.client.lookup(etc, 'passwd').attr.size).toBe(statSync('/etc/passwd').size)
})
