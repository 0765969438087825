// SPDX-License-Identifier: Apache-2.0
/**
 * The server is killed in the worst instants: the system call of a request has happened, and nothing is put down of that yet. bpftrace does it, at the
 * end of the call, once for each kind, and between what is put down of a request.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, constants, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { KillAt } from './harness/kill-at.ts'
import { firstProcess, serverBelow } from './harness/serving-process.ts'
import { outcome, startSession } from './harness/session.ts'

const { O_APPEND, O_EXCL, O_RDWR } = constants
const RENAME_EXCHANGE = 2
const RWF_APPEND = 0x10
/** The largest. */
const FOLIO_BYTES = 2 << 20
/** Some that come before the write, and fewer than it has. */
const FAULTS = 8
const CALLS = ['mknodat', 'mkdirat', 'symlinkat', 'linkat', 'renameat2', 'unlinkat', 'setxattr', 'removexattr'] as const

/** A request has been taken; it has been answered, and the guest has not got it back; it has, and has not been interrupted. */
const PROBES = ['request_begin', 'request_end', 'signal'] as const
const ADDON = resolve(import.meta.dirname, '../../native/build/viewfsd.node')

/** The C library that the daemon uses is this process's. */
const LIBRARY = /\S+\/libc\.so\.6$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? ''

function kill(call: string): string {
  return `@killed["${call}"] = 1; signal("KILL");`
}

/** Kills, once at the end of each call, the process that `first` has started. */
function script(first: number): string {
  const mine = `curtask->group_leader->real_parent->tgid == ${first}`
  const plain = CALLS.map(
    (call) =>
      `uretprobe:${LIBRARY}:${call} /(int32)retval == 0 && @killed["${call}"] == 0 && ${mine}/ { ${kill(call)} }`,
  )
  const instants = PROBES.map(
    (probe) => `usdt:${ADDON}:viewfsd:${probe} /@killed["${probe}"] == 0 && ${mine}/ { ${kill(probe)} }`,
  )
  const flagged = (call: string, argument: number, flag: number, key: string): string => `
uprobe:${LIBRARY}:${call} /(arg${argument} & ${flag}) != 0/ { @flagged[tid, "${key}"] = 1 }
uretprobe:${LIBRARY}:${call} /@flagged[tid, "${key}"] == 1/ {
  @flagged[tid, "${key}"] = 0; if ((int32)retval >= 0 && @killed["${key}"] == 0 && ${mine}) { ${kill(key)} } }`
  // Comes last, so that all others are in place when this process sets it off.
  const attached = `uprobe:${LIBRARY}:mkdtemp /pid == ${process.pid}/ { printf("attached\\n") }`
  return [
    ...plain,
    ...instants,
    flagged('openat64', 2, O_EXCL, 'openat'),
    flagged('pwritev64v2', 4, RWF_APPEND, 'pwritev2'),
    attached,
  ].join('\n')
}

test('what has happened is not done again', { timeout: 120_000 }, async () => {
  const { client, daemon } = await startSession({ args: ['--on-crash=restart', '--xattr', '--sandbox=none'] })
  const tracer = spawn('bpftrace', ['--unsafe', '-e', script(firstProcess(daemon))], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void tracer.kill('SIGKILL'))
  let said = ''
  for (const stream of [tracer.stdout, tracer.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await daemon.until(() => {
    mkdtempSync(join(daemon.directory, 'look-'))
    return said.includes('attached') || tracer.exitCode !== null
  }, 'bpftrace')
  // Each is the first of its kind.
  const made = client.create(ROOT_ID, 'created', O_RDWR | O_EXCL)
  client.write(made.entry.nodeid, made.fh, 0, Buffer.from('one'))
  // Not where the guest has seen the end.
  appendFileSync(join(daemon.sharedDir, 'created'), 'host')
  client.write(made.entry.nodeid, made.fh, 3, Buffer.from('two'), { open: O_APPEND })
  expect(readFileSync(join(daemon.sharedDir, 'created'), 'utf8')).toBe('onehosttwo')
  const node = client.mknod(ROOT_ID, 'node', 0o100644)
  client.mkdir(ROOT_ID, 'directory')
  client.symlink(ROOT_ID, 'symlink', 'target')
  expect(client.link(node.nodeid, ROOT_ID, 'link').nodeid).toBe(node.nodeid)
  writeFileSync(join(daemon.sharedDir, 'other'), 'other')
  client.rename2(ROOT_ID, 'created', ROOT_ID, 'other', RENAME_EXCHANGE)
  client.setxattr(node.nodeid, 'user.a', Buffer.from('1'), 1)
  client.removexattr(node.nodeid, 'user.a')
  client.unlink(ROOT_ID, 'link')
  expect(client.getattr(node.nodeid).nlink).toBe(1)
  expect(readFileSync(join(daemon.sharedDir, 'other'), 'utf8')).toBe('onehosttwo')
  expect(readFileSync(join(daemon.sharedDir, 'created'), 'utf8')).toBe('other')
  expect(readdirSync(daemon.sharedDir)).toEqual(['created', 'directory', 'node', 'other', 'symlink'])
  expect(outcome(() => client.mkdir(ROOT_ID, 'directory'))).toBe('EEXIST')
  tracer.kill('SIGINT')
  await once(tracer, 'close')
  for (const call of [...CALLS, ...PROBES, 'openat', 'pwritev2']) expect(said).toContain(`@killed[${call}]: 1`)
})

test('what has been appended in part is not appended again', async () => {
  const { client, daemon } = await startSession({ args: ['--on-crash=restart'] })
  // A signal ends a write between two folios.
  const before = FOLIO_BYTES - 100
  const file = join(daemon.sharedDir, 'file')
  writeFileSync(file, Buffer.alloc(before))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, O_RDWR)
  const server = serverBelow(daemon.pid) ?? -1
  // No server has touched the pages of the guest's that the kernel reads.
  const kills = readdirSync(`/proc/${server}/task`).map((thread) => KillAt.pageFault(Number(thread), FAULTS))
  const data = Buffer.alloc(800_000, '0123456')
  expect(client.write(nodeid, fh, before, data, { open: O_APPEND })).toBe(data.length)
  for (const one of kills) one.close()
  expect(serverBelow(daemon.pid)).not.toBe(server)
  expect(readFileSync(file).subarray(before).equals(data)).toBe(true)
})
