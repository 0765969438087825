// SPDX-License-Identifier: Apache-2.0
/** Options whose effect has to get through the sandbox's walls: capabilities, and the system log. */
import { spawnSync } from 'node:child_process'
import { chmodSync, closeSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'
import { cString, pack } from './harness/wire.ts'

/** Node has no datagram sockets of this family. Numbers are x86-64's. */
const { rawSyscall }: { rawSyscall: (number: number, ...args: (number | Uint8Array)[]) => number } = createRequire(
  import.meta.url,
)('../../native/build/test/raw_syscall.node')
const SYS = { socket: 41, recvfrom: 45, bind: 49 }
const AF_UNIX = 1
const SOCK_DGRAM = 2
const MSG_DONTWAIT = 0x40

const CAP_MKNOD = 27
const CAP_SYS_ADMIN = 21
const S_IFCHR = 0o020000
const FATTR_UID = 1 << 1

/** Names of the capabilities' sets of every thread that holds this one. */
function holders(pid: number, capability: number): string[] {
  const lists = spawnSync('sh', ['-c', `cat /proc/${pid}/task/*/status`], { encoding: 'utf8' }).stdout
  const sets = [...lists.matchAll(/^(Cap\w+):\s+([0-9a-f]+)$/gm)]
  return [
    ...new Set(
      sets.filter(([, , mask]) => (BigInt(`0x${mask}`) >> BigInt(capability)) & 1n).map(([, set]) => set ?? ''),
    ),
  ]
}

/** What the guest's root can do by capabilities of the daemon, and which of two the daemon's threads hold. */
async function powers(args: readonly string[]): Promise<Record<string, unknown>> {
  const { client, daemon } = await startSession({ args: ['--xattr', ...args] })
  const { nodeid } = client.create(ROOT_ID, 'file', 2).entry
  return {
    mknod: outcome(() => client.mknod(ROOT_ID, 'null', S_IFCHR | 0o600, 0x103)),
    chown: outcome(() => client.setattr(nodeid, { valid: FATTR_UID, uid: 1000 })),
    // trusted.* is CAP_SYS_ADMIN's.
    trusted: outcome(() => client.setxattr(nodeid, 'trusted.key', Buffer.from('value'))),
    holdsMknod: holders(daemon.servingPid, CAP_MKNOD),
    holdsSysAdmin: holders(daemon.servingPid, CAP_SYS_ADMIN),
  }
}

const ROOTS = ['CapPrm', 'CapEff', 'CapBnd']

describe('--modcaps', () => {
  test.each([
    { args: [], mknod: 'ok', chown: 'ok', trusted: 'EPERM', holdsMknod: ROOTS, holdsSysAdmin: [] },
    {
      args: ['--modcaps=-mknod:-chown'],
      mknod: 'EPERM',
      chown: 'EPERM',
      trusted: 'EPERM',
      holdsMknod: [],
      holdsSysAdmin: [],
    },
    {
      args: ['--modcaps=+sys_admin'],
      mknod: 'ok',
      chown: 'ok',
      trusted: 'ok',
      holdsMknod: ROOTS,
      holdsSysAdmin: ROOTS,
    },
    {
      args: ['--modcaps=-mknod', '--sandbox=none'],
      mknod: 'EPERM',
      chown: 'ok',
      trusted: 'EPERM',
      holdsMknod: [],
      holdsSysAdmin: [],
    },
  ])('$args', async ({ args, ...expected }) => {
    expect(await powers(args)).toEqual(expected)
  })
})

/** Puts a log's socket ($1) into a /dev of the daemon's own ($2), and starts it as a user ($3). */
const WITH_LOG = `
mount --make-rprivate /
for name in null random urandom; do
	: >"$2/$name"
	mount --bind "/dev/$name" "$2/$name"
done
: >"$2/log"
mount --bind "$1" "$2/log"
mount --rbind "$2" /dev
user=$3
shift 3
exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
`

/** The same for systemd's journal, with standard error as the service manager makes it. */
const WITH_JOURNAL = `
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/systemd/journal
touch /run/systemd/journal/socket
mount --bind "$1" /run/systemd/journal/socket
JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)
export JOURNAL_STREAM
user=$2
shift 2
exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
`

/** A log's daemon: a datagram socket. */
class SystemLog {
  readonly #fd: number
  text = ''

  constructor(path: string) {
    this.#fd = rawSyscall(SYS.socket, AF_UNIX, SOCK_DGRAM, 0)
    const address = pack(['u16', AF_UNIX], cString(path))
    if (rawSyscall(SYS.bind, this.#fd, address, address.length) !== 0) throw new Error(`${path} can't be bound`)
    chmodSync(path, 0o666)
  }

  /** Whatever has come so far. */
  read(): string {
    const buffer = new Uint8Array(8192)
    for (;;) {
      const got = rawSyscall(SYS.recvfrom, this.#fd, buffer, buffer.length, MSG_DONTWAIT, 0, 0)
      if (got < 0) return this.text
      this.text += `${Buffer.from(buffer.buffer, 0, got).toString()}\n`
    }
  }

  close(): void {
    closeSync(this.#fd)
  }
}

test.each([0, 65534])('--syslog reaches the log from inside, and outlives it, as uid %i', async (uid) => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  chmodSync(directory, 0o755)
  mkdirSync(join(directory, 'dev'))
  const log = new SystemLog(join(directory, 'log'))
  const through = [
    'unshare',
    '-m',
    'sh',
    '-ec',
    WITH_LOG,
    'sh',
    join(directory, 'log'),
    join(directory, 'dev'),
    String(uid),
  ]
  const session = await startSession({ args: ['--syslog'], uid, through })
  const { client, daemon } = session
  await daemon.until(() => log.read().includes('a frontend has connected'), 'messages in the log')
  expect(log.text).toMatch(/^<14>.* viewfsd\[\d+\]: a frontend has connected \{"event":"frontend-connected"\}$/m)
  daemon.signal('SIGUSR1')
  await daemon.until(() => log.read().includes('counters'), 'the counters in the log')
  expect(daemon.log).toBe('')

  // The log goes away: messages are lost, the daemon goes on.
  log.close()
  daemon.signal('SIGUSR1')
  client.create(ROOT_ID, 'file', 2)
  session.frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test.each([0, 65534])('a service writes to the journal, with fields, as uid %i', async (uid) => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  chmodSync(directory, 0o755)
  const log = new SystemLog(join(directory, 'journal'))
  onTestFinished(() => log.close())
  const through = ['unshare', '-m', 'sh', '-ec', WITH_JOURNAL, 'sh', join(directory, 'journal'), String(uid)]
  const { daemon } = await startSession({ through, uid })
  await daemon.until(() => log.read().includes('a frontend has connected'), 'entries of the journal')
  expect(log.text).toContain(
    'MESSAGE=a frontend has connected\nPRIORITY=6\nSYSLOG_IDENTIFIER=viewfsd\nVIEWFSD_EVENT=frontend-connected\n',
  )
  daemon.signal('SIGUSR1')
  await daemon.until(() => log.read().includes('VIEWFSD_COUNTERS={"fuse":'), 'the counters in the journal')
  expect(daemon.log).toBe('')
})
