// SPDX-License-Identifier: Apache-2.0
/** The control socket, through viewfsdctl and by hostile peers. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type NetConnectOpts } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { text as allText } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { receiveWithFds, sendWithFds } from '../../native/index.ts'
import { testing } from '../../native/testing/index.ts'
import { MAX_PEERS } from '../control/peer-server.ts'
import { mountBadDisk } from './harness/bad-disk.ts'
import { type Daemon, makeScratch, removeScratch } from './harness/daemon.ts'
import { ROOT_ID, MappingFlag, Opcode } from './harness/fuse-abi.ts'
import { Request } from './harness/vhost-user.ts'
import { startWindowSession } from './harness/window-session.ts'
import { cString } from './harness/wire.ts'
import { connectFrontend, outcome, type Session, startDaemon, startSession } from './harness/session.ts'

const VIEWFSDCTL = resolve(import.meta.dirname, '../../dist/server/viewfsdctl.js')

function ctl(daemon: Daemon, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [VIEWFSDCTL, `--socket=${daemon.socketPath}`, ...args],
    { encoding: 'utf8' },
  )
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

function json(daemon: Daemon, ...args: readonly string[]): unknown {
  return JSON.parse(ctl(daemon, '--json', ...args))
}

test.each(['namespace', 'chroot', 'none'])('shows what the daemon does: --sandbox=%s', async (sandbox) => {
  const daemon = startDaemon({ args: [`--sandbox=${sandbox}`, '--keep-listening'], window: 'shmem' })
  const control = `${daemon.socketPath}.ctl`
  // For a moment it can be "executed" by its owner, too.
  await daemon.until(
    () => existsSync(control) && (statSync(control).mode & 0o777) === 0o600,
    'control socket, mode 0600',
  )
  const idle = { frontend: { connected: false }, session: null, window: { kind: 'shmem', active: false }, tag: 'test' }
  expect(json(daemon, 'status')).toMatchObject({ ...idle, sharedDir: daemon.sharedDir, logLevel: 'info' })
  ;(await connectFrontend(daemon)).close()
  daemon.signal('SIGTERM')
  await daemon.exit()
  expect(existsSync(control)).toBe(false)
})

test('tells of the guest and counts its requests', async () => {
  const { daemon, client } = await startSession({ window: 'shmem' })
  writeFileSync(join(daemon.sharedDir, 'file'), 'x'.repeat(10_000))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const fh = client.open(nodeid, 0)
  client.read(nodeid, fh, 0, 8192)
  expect(json(daemon, 'status')).toMatchObject({
    frontend: { connected: true },
    session: { fuseMinor: 46 },
    window: { active: true },
  })
  expect(json(daemon, 'metrics')).toMatchObject({
    fuse: { requests: { LOOKUP: 1, OPEN: 1, READ: 1, INIT: 1 }, bytesRead: 8192 },
  })
  expect(ctl(daemon, 'metrics')).toMatch(/^viewfsd_requests_total\{opcode="READ"\} 1$/m)
  expect(ctl(daemon, 'status')).toMatch(/^guest +FUSE 7\.46, /m)
  expect(ctl(daemon, 'top', '--once')).toMatch(/^requests +\d+\/s, /m)
  expect(ctl(daemon, 'requests')).toBe('no queue thread is at work on a request\n')
  const file = join(daemon.sharedDir, 'file')
  expect(json(daemon, 'dax', file)).toMatchObject({ inUse: false, file: { path: file, allowed: false }, mapped: [] })
  expect(ctl(daemon, 'dump')).not.toContain(daemon.sharedDir)
  expect(ctl(daemon, 'dump', '--paths')).toContain(daemon.sharedDir)
  expect(ctl(daemon, 'metrics')).toMatch(/^viewfsd_request_duration_seconds_count\{opcode="INIT"\} 1$/m)
})

const RANGE = 2 << 20

test.each(['namespace', 'none'])('tells what of which file the window shows: --sandbox=%s', async (sandbox) => {
  const { daemon, client } = await startWindowSession({ window: 'shmem', args: [`--sandbox=${sandbox}`] })
  const file = join(daemon.sharedDir, 'file')
  writeFileSync(file, Buffer.alloc(2 * RANGE))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  client.setupMapping(nodeid, RANGE, RANGE, MappingFlag.READ, 3 * RANGE)
  const range = { windowOffset: 3 * RANGE, fileOffset: RANGE, bytes: RANGE, writable: false }
  const mapped = [{ path: '/file', inode: statSync(file).ino, rangeCount: 1, ranges: [range] }]
  expect(json(daemon, 'dax')).toMatchObject({ inUse: true, mapped })
  expect(json(daemon, 'dax', file)).toMatchObject({ mapped })
  expect(json(daemon, 'dax', daemon.sharedDir)).toMatchObject({ mapped })
  expect(ctl(daemon, 'dax', file)).toContain('/file: 1 range mapped\n  0x200000-0x400000 at 0x600000, read-only\n')
  expect(ctl(daemon, 'top', '--once')).toMatch(/^window {2}\|.*[▁▂▃▄▅▆▇█].*\|$/m)
  expect(ctl(daemon, 'dump')).not.toContain('/file')
  client.removeMapping(nodeid, [{ moffset: 3 * RANGE, length: RANGE }])
  expect(json(daemon, 'dax', file)).toMatchObject({ inUse: false, mapped: [] })
  client.setupMapping(nodeid, 0, RANGE, MappingFlag.READ, 0)
  client.destroy()
  expect(json(daemon, 'dax')).toMatchObject({ mapped: [] })
})

test('names the path of a request under way, and waits for nobody who could tell it', async () => {
  const disk = await mountBadDisk()
  const sharedDir = makeScratch()
  onTestFinished(() => removeScratch(sharedDir))
  const mounted = join(sharedDir, 'folder', 'disk')
  mkdirSync(mounted, { recursive: true })
  execFileSync('mount', ['--bind', disk.mountPoint, mounted])
  onTestFinished(() => void execFileSync('umount', ['--lazy', mounted]))
  writeFileSync(join(disk.backing, 'slow'), 'slow')
  const { client, daemon, transport } = await startSession({ sharedDir, queues: 3 })
  const folder = client.lookup(ROOT_ID, 'folder').nodeid
  const onDisk = client.lookup(folder, 'disk').nodeid
  for (const [nodeid, name, path] of [
    [folder, 'disk', '/folder'],
    [onDisk, 'slow', null],
  ] as const) {
    // The host's kernel forgets what it knew of the directory.
    writeFileSync(disk.at(`for ${name}`), '')
    const rule = await disk.stall('getattr', { times: 1 })
    const lookup = transport.submit(Opcode.LOOKUP, nodeid, cString(name), { replyBytes: 128 })
    await rule.hit()
    const asked = { opcode: 'LOOKUP', nodeid: Number(nodeid), path, queueThread: 0, since: expect.any(String) }
    expect(json(daemon, 'requests')).toMatchObject([asked])
    expect(ctl(daemon, 'requests')).toContain(
      path === null ? ` nodeid ${nodeid}  for` : ` nodeid ${nodeid} ${path}  for`,
    )
    expect(ctl(daemon, 'dump')).not.toContain('/folder')
    await rule.end()
    transport.wait(lookup)
  }
})

test('top shows rates and latencies by opcode, and the files that are asked about', async () => {
  const { daemon, client } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'hot'), 'x')
  const { nodeid } = client.lookup(ROOT_ID, 'hot')
  const top = spawn(process.execPath, [VIEWFSDCTL, `--socket=${daemon.socketPath}`, '--json', 'top', '--once'])
  const output = allText(top.stdout)
  const ended = once(top, 'exit')
  while (top.exitCode === null) {
    for (let i = 0; i < 100; i++) client.getattr(nodeid)
    await new Promise(setImmediate)
  }
  await ended
  const report: unknown = JSON.parse(await output)
  expect(report).toMatchObject({
    opcodes: [{ opcode: 'GETATTR', p50: expect.any(Number), p99: expect.any(Number) }],
    files: [{ path: '/hot', rangeCount: 0 }],
  })
})

/** Opens more files than there is room for, of which the log tells by a queue thread's own logger. */
function runShort({ daemon, client }: Session): void {
  writeFileSync(join(daemon.sharedDir, 'file'), '')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  for (let i = 0; i < 600; i++) if (outcome(() => client.open(nodeid, 0)) === 'ENFILE') return
  throw new Error('there was room for 600 files')
}

test('changes the log level of all threads', async () => {
  const session = await startSession({ args: ['--rlimit-nofile=600', '--log-level=error'] })
  runShort(session)
  expect(session.daemon.log).not.toContain('more files open')
  ctl(session.daemon, 'log-level', 'debug')
  session.client.destroy()
  session.client.init()
  runShort(session)
  expect(session.daemon.log).toContain('more files open')
  // Main's own.
  const line = 'message of the frontend'
  expect(session.daemon.log).not.toContain(line)
  session.frontend.ask(Request.GET_FEATURES)
  await session.daemon.until(() => session.daemon.log.includes(line), line)
})

test('a path that is given must be had, the default one need not, and none is none', async () => {
  const refused = startDaemon({ args: ['--control=/does/not/exist'] })
  expect(await refused.exit()).toEqual({ code: 1, signal: null })
  expect(refused.log).toMatch(/--control=\/does\/not\/exist: .*ENOENT/)
  const none = startDaemon({ args: ['--control=none'] })
  await connectFrontend(none)
  expect(existsSync(`${none.socketPath}.ctl`)).toBe(false)
})

/** @returns the whole reply */
async function ask(where: NetConnectOpts, request: string): Promise<string> {
  const socket = connect(where)
  socket.write(request)
  return await allText(socket)
}

/** One that nobody listens at. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

test.each(['namespace', 'chroot', 'none'])('serves metrics to Prometheus: --sandbox=%s', async (sandbox) => {
  const port = await freePort()
  const { daemon, client } = await startSession({ args: [`--metrics=127.0.0.1:${port}`, `--sandbox=${sandbox}`] })
  client.getattr(ROOT_ID)
  const reply = await ask({ port }, 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n')
  expect(reply).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: application\/openmetrics-text;/)
  expect(reply).toMatch(/^viewfsd_requests_total\{opcode="GETATTR"\} 1$/m)
  expect(reply).toMatch(/# EOF\n$/)
  // Peers that say nothing, and too much.
  const silent = connect({ port })
  await once(silent, 'connect')
  expect(await ask({ port }, 'x'.repeat(4096))).toMatch(/^HTTP\/1\.1 431 /)
  client.getattr(ROOT_ID)
  silent.destroy()
  expect(daemon.log).not.toContain('127.0.0.1')
})

test('serves metrics at a path, which goes with the daemon, and refuses what it can not have', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'metrics-')), 'socket')
  onTestFinished(() => rmSync(dirname(path), { recursive: true }))
  const daemon = startDaemon({ args: [`--metrics=${path}`] })
  await connectFrontend(daemon)
  expect(statSync(path).mode & 0o777).toBe(0o700)
  expect(await ask({ path }, 'GET /metrics HTTP/1.1\r\n\r\n')).toContain('viewfsd_uptime_seconds')
  daemon.signal('SIGTERM')
  await daemon.exit()
  expect(existsSync(path)).toBe(false)
  const refused = startDaemon({ args: ['--metrics=192.0.2.1:9551'] })
  expect(await refused.exit()).toEqual({ code: 1, signal: null })
  expect(refused.log).toMatch(/--metrics=192\.0\.2\.1:9551: .*EADDRNOTAVAIL/)
})

/** Connects to the control socket without Node's buffers. @returns a descriptor that does not wait */
function peer(daemon: Daemon): number {
  const fd = testing.connectUnix(`${daemon.socketPath}.ctl`)
  expect(fd).toBeGreaterThanOrEqual(0)
  return fd
}

function send(fd: number, text: string, fds: readonly number[] = []): number {
  return sendWithFds(fd, new TextEncoder().encode(text), fds)
}

test('peers that send rubbish, or read nothing, hold up no queue and cost no descriptor', async () => {
  const session = await startSession()
  const { daemon, client } = session
  const before = daemon.openFiles
  const deaf: number[] = []
  for (let i = 0; i < MAX_PEERS - 1; i++) deaf.push(peer(daemon))
  // Far more than a socket holds: the answers are never taken.
  const commands = [
    '{"command":"metrics"}',
    '{"command":"dump"}',
    '{"command":"files"}',
    '{"command":"forget","path":"/"}',
  ]
  const asked = `${commands.join('\n')}\n`.repeat(25) + '{"command":"metrics"}\n'.repeat(100)
  for (const fd of deaf) send(fd, asked)
  const rubbish = peer(daemon)
  const passed = openSync('/dev/null', 'r')
  for (let i = 0; i < 20; i++) send(rubbish, `\u0000{"command":${'['.repeat(100)}\n`, [passed, passed])
  closeSync(passed)
  send(rubbish, 'x'.repeat(5000))
  for (let i = 0; i < 200; i++) client.getattr(ROOT_ID)
  // After an answer to each line.
  const answers = new Uint8Array(1 << 16)
  let got = 0
  await daemon.until(() => {
    const more = receiveWithFds(rubbish, answers, got, answers.length - got, [])
    got += Math.max(0, more)
    return more === 0
  }, 'end of the rubbish')
  const lines = new TextDecoder().decode(answers.subarray(0, got)).trimEnd().split('\n')
  expect(lines).toHaveLength(21)
  for (const line of lines) expect(line).toMatch(/^\{"ok":false,"error":"(not JSON|a line of more than 4096 bytes)"\}$/)
  for (const fd of [...deaf, rubbish]) closeSync(fd)
  await daemon.until(() => daemon.openFiles === before, 'end of all peers')
  const idle = Array.from({ length: MAX_PEERS }, () => peer(daemon))
  const turnedAway = peer(daemon)
  await daemon.until(() => receiveWithFds(turnedAway, answers, 0, 1, []) === 0, 'end of one peer too many')
  for (const fd of [...idle, turnedAway]) closeSync(fd)
  await daemon.until(() => daemon.openFiles === before, 'end of the idle ones')
  client.getattr(ROOT_ID)
  ctl(daemon, 'status')
  expect(daemon.log).not.toContain('a command of the control socket failed')
})
