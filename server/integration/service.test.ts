// SPDX-License-Identifier: Apache-2.0
/** As a service manager starts it: a socket by LISTEN_FDS, and what it is told by NOTIFY_SOCKET. Perl, which each Debian has, plays the manager's socket. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { listenUnix } from '../../native/index.ts'
import { testing } from '../../native/testing/index.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { Frontend } from './harness/frontend.ts'

const PROGRAM = resolve(import.meta.dirname, '../../dist/server/main.js')
const MANAGER = `use IO::Socket::UNIX; use Socket; $| = 1;
my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "$!";
print "listens\\n"; while (defined $s->recv(my $m, 4096)) { $m =~ s/\\n/|/g; print "$m\\n" }`

/** A notify socket, and the messages that come, one after the other. */
async function manager(path: string): Promise<() => Promise<string>> {
  const perl = spawn('perl', ['-e', MANAGER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void perl.kill())
  const lines = createInterface({ input: perl.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<string> => String((await lines.next()).value)
  expect(await next()).toBe('listens')
  return next
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((done) => child.once('exit', (code) => done(code)))
}

test.each([
  [['--sandbox=namespace']],
  [['--sandbox=chroot']],
  [['--sandbox=none']],
  [['--sandbox=none', '--seccomp=none']],
  [['--sandbox=namespace', '--on-crash=restart']],
  [['--sandbox=chroot', '--on-crash=restart']],
])('serves on the socket of its manager, and tells it: %j', async (sandbox) => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  mkdirSync(join(directory, 'share'))
  const notify = join(directory, 'notify')
  const next = await manager(notify)
  const path = join(directory, 'socket')
  const listener = listenUnix(path)
  const command = ['exec env', 'LISTEN_FDS=1', 'LISTEN_PID=$$', '"$@"'].join(' ')
  const program = [process.execPath, PROGRAM, `--shared-dir=${directory}/share`, '--rlimit-nofile=0', ...sandbox]
  const child = spawn('sh', ['-c', command, 'sh', ...program], {
    stdio: ['ignore', 'ignore', 'inherit', listener],
    env: { ...process.env, NOTIFY_SOCKET: notify, NODE_OPTIONS: '' },
  })
  const exit = ended(child)
  onTestFinished(() => void child.kill('SIGKILL'))
  closeSync(listener)
  expect(await next()).toMatch(/^READY=1/)
  const frontend = new Frontend(testing.connectUnix(path))
  onTestFinished(() => frontend.close())
  frontend.realize()
  // Without a sandbox there is no launcher after the start.
  const supervised = !sandbox.includes('--sandbox=none')
  child.kill('SIGTERM')
  // And nobody else has said anything, which the manager would not hear: NotifyAccess=main.
  if (supervised) expect(await next()).toMatch(/^STOPPING=1/)
  expect(await exit).toBe(0)
  expect(existsSync(`${path}.ctl`)).toBe(false)
})
