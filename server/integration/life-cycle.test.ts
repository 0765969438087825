// SPDX-License-Identifier: Apache-2.0
/** Start, stop, reset and disconnect, as QEMU does them at VM stop, guest reboot and driver rebind. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REFERENCE } from './harness/daemon.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { connectFrontend, outcome, startDaemon, startDevice, startSession } from './harness/session.ts'
import { readCounters } from './harness/window-session.ts'

test('goes on after VM stop and cont, with every inode and handle', async () => {
  const { client, frontend, queues } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  for (let round = 0; round < 5; round++) {
    client.write(entry.nodeid, fh, round, Buffer.from([0x30 + round]))
    const bases = frontend.stop()
    expect(bases).toEqual(queues.map((queue) => queue.availableIndex))
    frontend.resume(bases)
  }
  expect(client.read(entry.nodeid, fh, 0, 10)).toEqual(Buffer.from('01234'))
})

// virtiofsd loses a kick that comes before its vring is enabled.
test.skipIf(REFERENCE !== undefined)('serves what was made available while it was stopped', async () => {
  const { client, frontend, transport } = await startSession()
  const bases = frontend.stop()
  const request = transport.submit(3, ROOT_ID, new Uint8Array(16), { replyBytes: 104 })
  // The kick is still in the eventfd, as ioeventfd leaves it; the vring starts with work to do.
  frontend.resume(bases)
  transport.waitFor(() => request.done, 'GETATTR')
  expect(request.error).toBe(0)
  expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
})

test.skipIf(REFERENCE !== undefined)('touches no ring after GET_VRING_BASE', async () => {
  const { frontend, transport } = await startSession()
  const bases = frontend.stop()
  const request = transport.submit(3, ROOT_ID, new Uint8Array(16), { replyBytes: 104 })
  const used = transport.requestQueue.usedIndex()
  // Several answered messages later nothing has happened.
  for (let i = 0; i < 20; i++) {
    frontend.askU64(1)
  }
  expect(transport.requestQueue.usedIndex()).toBe(used)
  expect(request.done).toBe(false)
  frontend.resume(bases)
  transport.waitFor(() => request.done, 'GETATTR')
})

test('starts afresh after a device reset', async () => {
  const { client, frontend, memory, queues, transport } = await startSession()
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, Buffer.from('data'))
  for (let round = 0; round < 3; round++) {
    frontend.reset()
    transport.abandon()
    frontend.start(memory, queues)
    client.init()
    const again = client.lookup(ROOT_ID, 'file')
    expect(again.attr.size).toBe(4)
    expect(client.read(again.nodeid, client.open(again.nodeid, 0), 0, 10)).toEqual(Buffer.from('data'))
  }
})

test('forgets the handles of the session before the reset', async () => {
  const { client, daemon, frontend, memory, queues, transport } = await startSession()
  writeFileSync(join(daemon.sharedDir, 'file'), 'data')
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  client.release(nodeid, client.open(nodeid, 2))
  const before = daemon.openFiles
  const handles = Array.from({ length: 50 }, () => client.open(nodeid, 2))
  frontend.reset()
  transport.abandon()
  frontend.start(memory, queues)
  client.init()
  expect(daemon.openFiles).toBeLessThanOrEqual(before + 3)
  for (const fh of handles.slice(0, 3)) {
    expect(outcome(() => client.write(nodeid, fh, 0, Buffer.from('X')))).not.toBe('ok')
  }
  expect(readFileSync(join(daemon.sharedDir, 'file'), 'utf8')).toBe('data')
})

test('exits with 0 when the frontend disconnects', async () => {
  const { client, daemon, frontend } = await startSession()
  client.getattr(ROOT_ID)
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test('exits when a frontend leaves that never started the device', async () => {
  const daemon = startDaemon()
  const frontend = await connectFrontend(daemon)
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test.skipIf(REFERENCE !== undefined)('serves one frontend after another with --keep-listening', async () => {
  const daemon = startDaemon({ args: ['--keep-listening'] })
  let openFiles = 0
  for (let guest = 0; guest < 4; guest++) {
    const frontend = await connectFrontend(daemon)
    const { client, memory } = startDevice(daemon, frontend)
    const { entry, fh } = client.create(ROOT_ID, `file-${guest}`, 2)
    client.write(entry.nodeid, fh, 0, Buffer.from(`guest ${guest}`))
    expect(readFileSync(join(daemon.sharedDir, `file-${guest}`), 'utf8')).toBe(`guest ${guest}`)
    expect(daemon.exited).toBeUndefined()
    if (guest === 1) {
      openFiles = daemon.openFiles
    }
    expect(guest <= 1 || daemon.openFiles <= openFiles + 2).toBe(true)
    frontend.close()
    expect(memory.regions).toHaveLength(1)
  }
  daemon.signal('SIGTERM')
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test.skipIf(REFERENCE !== undefined)('keeps nothing of the guest before', async () => {
  const daemon = startDaemon({ args: ['--keep-listening'] })
  const first = await connectFrontend(daemon)
  const one = startDevice(daemon, first)
  const { entry, fh } = one.client.create(ROOT_ID, 'file', 2)
  first.close()
  const two = startDevice(daemon, await connectFrontend(daemon), { noInit: true })
  two.client.init()
  expect(outcome(() => two.client.read(entry.nodeid, fh, 0, 1))).not.toBe('ok')
  expect(outcome(() => two.client.getattr(entry.nodeid))).not.toBe('ok')
  expect(two.client.lookup(ROOT_ID, 'file').attr.nlink).toBe(1)
})

test.skipIf(REFERENCE !== undefined)('ends cleanly on SIGTERM, connected or not', async () => {
  const idle = startDaemon()
  await idle.until(() => idle.log.length > 0, 'first line of the log')
  const busy = await startSession()
  busy.daemon.signal('SIGTERM')
  expect(await busy.daemon.exit()).toEqual({ code: 0, signal: null })
  // Connected once, so that it surely listens.
  const listening = startDaemon()
  await connectFrontend(listening)
  listening.signal('SIGTERM')
  expect(await listening.exit()).toEqual({ code: 0, signal: null })
  idle.signal('SIGTERM')
  await idle.exit()
})

test.skipIf(REFERENCE !== undefined)('prints its counters on SIGUSR1 and goes on', async () => {
  const session = await startSession()
  const { client, daemon } = session
  const { entry, fh } = client.create(ROOT_ID, 'file', 2)
  client.write(entry.nodeid, fh, 0, Buffer.alloc(5000))
  const before = await readCounters(session)
  for (let i = 0; i < 7; i++) {
    client.read(entry.nodeid, fh, 0, 4096)
  }
  const after = await readCounters(session)
  expect([before.reads, after.reads]).toEqual([0, 7])
  expect([after.live, after.shmemMaps, after.shmemUnmaps]).toEqual([0, 0, 0])
  expect(daemon.alive).toBe(true)
  expect(client.getattr(entry.nodeid).size).toBe(5000)
})
