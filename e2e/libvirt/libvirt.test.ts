// SPDX-License-Identifier: Apache-2.0
/** libvirt as the client: a guest whose root and data are shares that libvirtd starts viewfsd for, locks included. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Agent } from '../guest/agent.ts'
import { connectPatiently } from '../guest/qmp.ts'
import { shellQuote } from '../rig/command.ts'
import { hostRoot } from '../rig/host-root.ts'
import { HARMLESS_IN_GUEST, kernelComplaints } from '../rig/kernel-log.ts'
import { checkout } from '../rig/paths.ts'
import { domainXml } from './domain.ts'
import { Libvirtd, privateFolder } from './libvirtd.ts'

const PROGRAM = '/usr/libexec/viewfsd'
const NAME = 'viewfsd-test'
const TOKEN = 'libvirt'
const BOOT_TIMEOUT_MS = 600_000

// The path has a comma, which libvirt escapes in -o.
const directory = mkdtempSync(join(tmpdir(), 'viewfsd-libvirt-'))
const data = join(directory, 'data,shared')
const consoleLog = join(directory, 'log/console.log')
const agentSocket = join(directory, 'agent.sock')
let libvirtd: Libvirtd
let agent: Agent

/** The command lines of the daemons that libvirtd runs. */
function daemons(): string[][] {
  const lines: string[][] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (words.some((word) => word.startsWith(`source=${directory}`))) lines.push(words)
    } catch {
      // It has just ended.
    }
  }
  return lines
}

async function inGuest(script: string): Promise<string> {
  const { status, output } = await agent.run(script)
  expect(status, output).toBe(0)
  return output.trim()
}

/** The installation that doc/managers.md describes, and a writable root for the guest. */
function preparation(lower: string): string {
  const root = join(privateFolder(directory), 'root')
  return `
    mkdir -p /usr/share/qemu/vhost-user ${root}/upper ${root}/work ${root}/share
    ln -s ${checkout}/dist/server/main.js ${PROGRAM}
    install -m 644 ${checkout}/share/50-viewfsd.json /usr/share/qemu/vhost-user/10-viewfsd.json
    mount -t overlay -o lowerdir=${lower},upperdir=${root}/upper,workdir=${root}/work overlay ${root}/share
    install -m 755 ${checkout}/e2e/guest/guest-init.sh ${root}/share/sbin/viewfsd-guest-init`
}

beforeAll(async () => {
  if (process.geteuid?.() !== 0) throw new Error('these tests need root')
  const host = await hostRoot()
  mkdirSync(data)
  writeFileSync(join(data, 'from-host'), 'written on the host')
  libvirtd = new Libvirtd(directory, preparation(host.path))
  await libvirtd.ready()
  const domain = join(directory, 'domain.xml')
  writeFileSync(
    domain,
    domainXml({
      name: NAME,
      kernelImage: join(host.path, 'lib/modules', host.manifest.kernels['6.12'], 'vmlinux'),
      commandLine: `console=ttyS0 loglevel=5 panic=-1 mitigations=off root=root rootfstype=virtiofs rw init=/sbin/viewfsd-guest-init viewfsd.token=${TOKEN}`,
      program: PROGRAM,
      rootDir: join(privateFolder(directory), 'root/share'),
      dataDir: data,
      consoleLog,
      agentSocket,
      locks: true,
    }),
  )
  libvirtd.virsh('create', domain)
  agent = new Agent(await connectPatiently(agentSocket, BOOT_TIMEOUT_MS), TOKEN)
  await agent.ready(BOOT_TIMEOUT_MS).catch((error: unknown) => {
    throw new Error(libvirtd.logs(), { cause: error })
  })
}, 2 * BOOT_TIMEOUT_MS)

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.error(libvirtd.logs())
})

afterAll(() => {
  agent?.close()
  libvirtd?.stop()
  // What is being killed may still write.
  rmSync(directory, { recursive: true, force: true, maxRetries: 50 })
})

test('libvirt passes the elements of the domain, and finds the program by its description', () => {
  const lists = daemons().map((words) => words[words.indexOf('-o') + 1] ?? '')
  expect(new Set(lists)).toEqual(
    new Set([
      `source=${join(privateFolder(directory), 'root/share')},cache=always,xattr,no_flock,no_posix_lock`,
      `source=${data.replace(',', ',,')},flock,posix_lock`,
    ]),
  )
  expect(libvirtd.virsh('domstate', NAME).trim()).toBe('running')
})

test('the guest runs on its root, and shares data with the host', async () => {
  expect(await inGuest('stat -f -c %T /; chown 12:34 /root; stat -c %u:%g /root')).toBe('fuse\n12:34')
  await inGuest('mkdir -p /mnt/data; mount -t virtiofs data /mnt/data')
  expect(await inGuest('cat /mnt/data/from-host')).toBe('written on the host')
  await inGuest('echo written in the guest >/mnt/data/from-guest')
  expect(readFileSync(join(data, 'from-guest'), 'utf8')).toBe('written in the guest\n')
})

/** Perl that takes a lock (flock or posix) of a file or exits with 1, says so, and keeps it until its input ends. */
const LOCKER = `
  use Fcntl;
  my ($kind, $path) = @ARGV;
  my $whole = pack "ssx4qqix4", F_WRLCK, 0, 0, 0, 0;
  open F, "+>>", $path or die;
  ($kind eq "flock" ? flock F, 6 : fcntl F, F_SETLK, $whole) or exit 1;
  $| = 1; print "held\\n"; 1 while <STDIN>`

/** Whether the guest gets the lock; it gives it back at once. */
async function guestGets(kind: string): Promise<boolean> {
  const { status, output } = await agent.run(`perl -e ${shellQuote(LOCKER)} ${kind} /mnt/data/lock </dev/null`)
  expect([0, 1], output).toContain(status)
  return status === 0
}

/** Takes the lock on the host. @returns what gives it back, undefined where it is taken */
async function hostGets(kind: string): Promise<(() => Promise<unknown>) | undefined> {
  const child = spawn('perl', ['-e', LOCKER, kind, join(data, 'lock')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const gone = once(child, 'exit')
  const first: unknown = await Promise.race([once(child.stdout, 'data'), gone])
  if (String(first) !== 'held\n') return undefined
  return () => {
    child.stdin.end()
    return gone
  }
}

test.each(['flock', 'posix'])('%s locks exclude host and guest from each other', async (kind) => {
  expect(await guestGets(kind)).toBe(true)
  const release = await hostGets(kind)
  expect(release).toBeDefined()
  expect(await guestGets(kind)).toBe(false)
  await release?.()
  await inGuest(`
    mkfifo /run/go
    perl -e ${shellQuote(LOCKER)} ${kind} /mnt/data/lock <>/run/go >/run/held & echo $! >/run/holder
    until grep -q held /run/held; do kill -0 $!; sleep 0.1; done`)
  expect(await hostGets(kind)).toBeUndefined()
  await inGuest('kill "$(cat /run/holder)"; rm /run/go /run/held /run/holder')
  // The guest's kernel closes files behind the program's back.
  let again = await hostGets(kind)
  while (again === undefined) again = await hostGets(kind)
  await again()
})

test('the domain ends with the guest, and its daemons with the domain', async () => {
  agent.post('busybox poweroff -f')
  while (libvirtd.virsh('list', '--name').trim() !== '') await sleep(100)
  while (daemons().length > 0) await sleep(100)
  expect(existsSync(agentSocket)).toBe(false)
  const logs = ['fs0', 'fs1'].map((alias) =>
    readFileSync(join(directory, `log/qemu/${NAME}-${alias}-virtiofsd.log`), 'utf8'),
  )
  for (const log of logs) expect(log).not.toMatch(/"level":[56]0/)
  expect(kernelComplaints(readFileSync(consoleLog, 'latin1'), HARMLESS_IN_GUEST)).toEqual([])
})
