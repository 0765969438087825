// SPDX-License-Identifier: Apache-2.0
/** SETUPMAPPING and REMOVEMAPPING as Linux sends them, and that their sums agree with what is mapped. */
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TEST_WINDOW } from './harness/daemon.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { outcome } from './harness/session.ts'
import {
  hostBytes,
  makeFile,
  RANGE,
  READ,
  readCounters,
  stamped,
  startWindowSession,
  WINDOW_BYTES,
  WRITE,
} from './harness/window-session.ts'
import { pack } from './harness/wire.ts'

const view = TEST_WINDOW === 'memory-view'

test('shows a file in the window without a READ', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', 3 * RANGE, 7)
  // Out of order, and far apart in the window.
  for (const [foffset, moffset] of [
    [2 * RANGE, 0],
    [0, 100 * RANGE],
    [RANGE, WINDOW_BYTES - RANGE],
  ] as const) {
    client.setupMapping(nodeid, foffset, RANGE, READ, moffset)
    const wanted = stamped(3 * RANGE, 7).subarray(foffset, foffset + RANGE)
    for (const at of [0, 4096, RANGE - 8192]) {
      expect(window.read(moffset + at, 4096)).toEqual(new Uint8Array(wanted.subarray(at, at + 4096)))
    }
    expect(window.read(moffset + RANGE - 4096, 4096)).toEqual(new Uint8Array(wanted.subarray(RANGE - 4096)))
  }
  const counters = await readCounters(session)
  expect(counters.reads).toBe(0)
  expect(counters.live).toBe(3)
})

test('replies with a map alignment of 12', async () => {
  const { initReply } = await startWindowSession()
  expect((initReply?.flags ?? 0n) & (1n << 26n)).toBe(1n << 26n)
  expect(initReply?.mapAlignment).toBe(12)
})

test('shows what others write into the file, and the other way round', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  const fh = client.open(nodeid, 2)
  client.write(nodeid, fh, 5000, Buffer.from('by WRITE'))
  expect(Buffer.from(window.read(5000, 8) ?? []).toString()).toBe('by WRITE')
  expect(window.write(70_000, Buffer.from('through the window'))).toBe(18)
  expect(hostBytes(session, 'file').subarray(70_000, 70_018).toString()).toBe('through the window')
  expect(Buffer.from(client.read(nodeid, fh, 70_000, 18)).toString()).toBe('through the window')
  client.fsync(nodeid, fh)
})

test('makes a readable range writable in place', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE)
  client.setupMapping(nodeid, 0, RANGE, READ, 4 * RANGE)
  const before = window.read(4 * RANGE, 4096)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 4 * RANGE)
  expect(window.read(4 * RANGE, 4096)).toEqual(before)
  expect(window.write(4 * RANGE, Buffer.from('upgraded'))).toBe(8)
  expect(hostBytes(session, 'file').subarray(0, 8).toString()).toBe('upgraded')
  // And once more the readable one: what was granted may stay.
  client.setupMapping(nodeid, 0, RANGE, READ, 4 * RANGE)
  expect(Buffer.from(window.read(4 * RANGE, 8) ?? []).toString()).toBe('upgraded')
  expect((await readCounters(session)).live).toBe(1)
})

test('never shows wrong bytes where one file takes the place of another', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const one = makeFile(session, 'one', RANGE, 1)
  const two = makeFile(session, 'two', RANGE, 2)
  client.setupMapping(one, 0, RANGE, READ, 0)
  // SHMEM_MAP can't replace, so there it may fail; Linux does not do it without REMOVEMAPPING.
  const replaced = outcome(() => client.setupMapping(two, 0, RANGE, READ, 0)) === 'ok'
  expect(replaced || !view).toBe(true)
  expect(window.read(8192, 4096)).toEqual(new Uint8Array(stamped(RANGE, replaced ? 2 : 1).subarray(8192, 12_288)))
  client.removeMapping(ROOT_ID, [{ moffset: 0, length: RANGE }])
  client.setupMapping(two, 0, RANGE, READ, 0)
  expect(window.read(8192, 4096)).toEqual(new Uint8Array(stamped(RANGE, 2).subarray(8192, 12_288)))
})

test('removes 256 ranges by one request', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', 2 * RANGE)
  const ranges = Array.from({ length: 256 }, (_, i) => ({ moffset: i * RANGE, length: RANGE }))
  for (const { moffset } of ranges) {
    client.setupMapping(nodeid, moffset % (2 * RANGE), RANGE, READ, moffset)
  }
  client.setupMapping(nodeid, 0, RANGE, READ, 400 * RANGE)
  expect((await readCounters(session)).live).toBe(257)
  client.removeMapping(nodeid, ranges)
  expect((await readCounters(session)).live).toBe(1)
  for (const moffset of [0, 128 * RANGE, 255 * RANGE + 4096]) {
    expect(window.read(moffset, 8)).toBeUndefined()
  }
  expect(window.read(400 * RANGE, 8)).toHaveLength(8)
})

test('counts: ranges set up, less those replaced, less those removed, are what lives', async () => {
  const session = await startWindowSession()
  const { client } = session
  const files = [1, 2, 3, 4].map((seed) => makeFile(session, `file-${seed}`, 4 * RANGE, seed))
  const live = new Map<number, string>()
  let setUp = 0
  let replaced = 0
  let removed = 0
  let refused = 0
  let state = 7
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % limit
  }
  for (let step = 0; step < 400; step++) {
    const slot = random(40)
    const moffset = slot * RANGE
    const kind = random(10)
    const file = random(files.length)
    const nodeid = files[file] ?? 0n
    if (kind < 5) {
      // A plain mapping; on a taken slot an upgrade of what is there, as the guest would ask.
      const taken = live.get(slot)
      const [source, foffset] = taken?.split(':').map(Number) ?? [file, random(4) * RANGE]
      const flags = taken === undefined ? READ : READ | WRITE
      client.setupMapping(files[source ?? 0] ?? 0n, foffset ?? 0, RANGE, flags, moffset)
      setUp++
      replaced += taken === undefined ? 0 : 1
      live.set(slot, `${source}:${foffset}`)
    } else if (kind < 8) {
      const gone = [...live.keys()].filter(() => random(4) === 0)
      if (gone.length > 0) {
        client.removeMapping(
          nodeid,
          gone.map((each) => ({ moffset: each * RANGE, length: RANGE })),
        )
        gone.forEach((each) => live.delete(each))
        removed += gone.length
      }
    } else {
      const wrong = random(2) === 0 ? WINDOW_BYTES : moffset + 100
      expect(outcome(() => client.setupMapping(nodeid, 0, RANGE, READ, wrong))).toBe('EINVAL')
      refused++
    }
  }
  const counters = await readCounters(session)
  expect(counters.mappingsSetUp).toBe(setUp)
  expect(counters.mappingsRemoved).toBe(removed)
  expect(counters.mappingsRefused).toBe(refused)
  expect(counters.live).toBe(live.size)
  expect(setUp - replaced - removed).toBe(live.size)
  for (const [slot, source] of live) {
    const [file = 0, foffset = 0] = source.split(':').map(Number)
    const wanted = stamped(4 * RANGE, file + 1).subarray(foffset + 12_288, foffset + 12_304)
    expect(session.window.read(slot * RANGE + 12_288, 16)).toEqual(new Uint8Array(wanted))
  }
})

test('maps a file that is unlinked, and one without a handle', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE, 5)
  client.unlink(ROOT_ID, 'file')
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0)
  expect(window.read(0, 4096)).toEqual(new Uint8Array(stamped(4096, 5)))
  client.forget(nodeid, 1)
  client.getattr(ROOT_ID)
  // Nobody knows the inode any more, the mapping stays.
  expect(window.read(4096, 4096)).toEqual(new Uint8Array(stamped(8192, 5).subarray(4096)))
})

test('refuses ranges that no window has', async () => {
  const session = await startWindowSession()
  const { client, transport } = session
  const nodeid = makeFile(session, 'file', RANGE)
  const wrong: [foffset: number, length: number, flags: number, moffset: number][] = [
    [0, RANGE, READ, WINDOW_BYTES],
    [0, RANGE, READ, WINDOW_BYTES - 4096],
    [0, RANGE, READ, 2 ** 63],
    [0, RANGE, READ, 1],
    [1, RANGE, READ, 0],
    [0, 0, READ, 0],
    [0, 4097, READ, 0],
    [0, 2 ** 63, READ, 0],
    [0, 2 ** 63 + RANGE, READ, 2 ** 63],
    [2 ** 63 - RANGE, RANGE, READ, 0],
    [0, RANGE, 0, 0],
    [0, RANGE, 4, 0],
  ]
  for (const [foffset, length, flags, moffset] of wrong) {
    expect(
      outcome(() => client.setupMapping(nodeid, foffset, length, flags, moffset)),
      `${foffset} ${length} ${flags} ${moffset}`,
    ).toBe('EINVAL')
  }
  const directory = client.mkdir(ROOT_ID, 'directory')
  const fifo = client.mknod(ROOT_ID, 'fifo', 0o010644)
  for (const other of [directory.nodeid, fifo.nodeid, 9_999_999n]) {
    expect(outcome(() => client.setupMapping(other, 0, RANGE, READ, 0))).not.toBe('ok')
  }
  for (const args of [
    pack(['u32', 0]),
    pack(['u32', 257], new Uint8Array(257 * 16)),
    pack(['u32', 2], ['u64', 0], ['u64', RANGE]),
    pack(['u32', 0xffff_ffff], ['u64', 0], ['u64', RANGE]),
    pack(['u32', 1], ['u64', WINDOW_BYTES], ['u64', RANGE]),
    pack(['u32', 1], ['u64', 100], ['u64', RANGE]),
    pack(['u32', 1], ['u64', 0], ['u64', 2n ** 64n - 4096n]),
  ]) {
    expect(outcome(() => transport.call(Opcode.REMOVEMAPPING, nodeid, args))).toBe('EINVAL')
  }
  // Where nothing is mapped there is nothing to do.
  client.removeMapping(nodeid, [{ moffset: 8 * RANGE, length: RANGE }])
  expect((await readCounters(session)).live).toBe(0)
})

test('maps ranges beyond the end of the file, or fails: never wrong bytes', async () => {
  const session = await startWindowSession()
  const { client, daemon, window } = session
  const nodeid = makeFile(session, 'file', 5000, 9)
  // QEMU refuses to map beyond the end of a file; a memory view does not ask it.
  const result = outcome(() => client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0))
  expect(result === 'ok').toBe(view)
  if (result === 'ok') {
    expect(window.read(0, 5000)).toEqual(new Uint8Array(stamped(5000, 9)))
    expect(window.read(5000, 3192)).toEqual(new Uint8Array(3192))
    expect(window.read(8192, 1)).toBeUndefined()
    writeFileSync(join(daemon.sharedDir, 'file'), stamped(20_000, 9))
    expect(window.read(16_384, 3000)).toEqual(new Uint8Array(stamped(20_000, 9).subarray(16_384, 19_384)))
  } else {
    expect(window.read(0, 1)).toBeUndefined()
    expect(window.count).toBe(0)
  }
  // The next one works, so the backend channel has survived the refusal.
  const whole = makeFile(session, 'whole', RANGE, 3)
  client.setupMapping(whole, 0, RANGE, READ, RANGE)
  expect(window.read(RANGE, 16)).toEqual(new Uint8Array(stamped(16, 3)))
})

test.skipIf(view)('maps beyond the end where the frontend can', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  window.rules = { refuseBeyondEnd: false }
  const nodeid = makeFile(session, 'file', 5000, 9)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  expect(window.read(0, 5000)).toEqual(new Uint8Array(stamped(5000, 9)))
})

test.skipIf(view)('passes on a refusal by the frontend and goes on', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE)
  window.rules = { refuseBeyondEnd: true, refuse: (offset) => offset === 3 * RANGE }
  expect(outcome(() => client.setupMapping(nodeid, 0, RANGE, READ, 3 * RANGE))).not.toBe('ok')
  client.setupMapping(nodeid, 0, RANGE, READ, 4 * RANGE)
  window.rules = { refuseBeyondEnd: true }
  client.setupMapping(nodeid, 0, RANGE, READ, 3 * RANGE)
  const counters = await readCounters(session)
  expect([counters.live, counters.mappingsSetUp, counters.mappingsRefused]).toEqual([2, 2, 1])
  expect(window.count).toBe(2)
})

test('counts the ranges that a guest wants back from a window that is too small', async () => {
  const session = await startWindowSession()
  const { client, daemon } = session
  const slots = 8
  const size = WINDOW_BYTES / slots
  const path = join(daemon.sharedDir, 'file')
  writeFileSync(path, '')
  truncateSync(path, 2 * WINDOW_BYTES)
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  for (let slot = 0; slot < slots; slot++) client.setupMapping(nodeid, slot * size, size, READ, slot * size)
  const replace = (slot: number, part: number): void => {
    client.removeMapping(nodeid, [{ moffset: slot * size, length: size }])
    client.setupMapping(nodeid, part * size, size, READ, slot * size)
  }
  replace(0, slots)
  replace(1, slots + 1)
  expect((await readCounters(session)).wantedAgain).toBe(0)
  replace(2, 0)
  replace(3, 1)
  expect((await readCounters(session)).wantedAgain).toBe(2)
})

test.skipIf(!view)('splits a range where part of it is removed', async () => {
  const session = await startWindowSession()
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE, 4)
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  client.removeMapping(nodeid, [{ moffset: 8192, length: 4096 }])
  expect(window.read(8192, 1)).toBeUndefined()
  expect(window.read(4096, 4096)).toEqual(new Uint8Array(stamped(RANGE, 4).subarray(4096, 8192)))
  expect(window.read(12_288, 4096)).toEqual(new Uint8Array(stamped(RANGE, 4).subarray(12_288, 16_384)))
  expect((await readCounters(session)).live).toBe(2)
})

test('opens no writable range on a read-only export', async () => {
  const session = await startWindowSession({ args: ['--readonly'] })
  const { client, window } = session
  const nodeid = makeFile(session, 'file', RANGE, 6)
  expect(outcome(() => client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 0))).toBe('EROFS')
  expect(outcome(() => client.setupMapping(nodeid, 0, RANGE, WRITE, 0))).toBe('EROFS')
  expect(window.read(0, 1)).toBeUndefined()
  client.setupMapping(nodeid, 0, RANGE, READ, 0)
  expect(window.read(0, 4096)).toEqual(new Uint8Array(stamped(4096, 6)))
  expect(window.write(0, Buffer.from('no'))).toBe(0)
  expect(hostBytes(session, 'file').subarray(0, 16)).toEqual(stamped(16, 6))
})

test('sends no message for the window after the start where it is a view, one a range where not', async () => {
  const session = await startWindowSession()
  const { client, frontend } = session
  const atStart = frontend.backendMessages
  expect(atStart).toBeLessThanOrEqual(view ? 4 : 0)
  const nodeid = makeFile(session, 'file', RANGE)
  for (let i = 0; i < 20; i++) {
    client.setupMapping(nodeid, 0, RANGE, READ, i * RANGE)
    client.setupMapping(nodeid, 0, RANGE, READ | WRITE, i * RANGE)
  }
  client.removeMapping(
    nodeid,
    Array.from({ length: 20 }, (_, i) => ({ moffset: i * RANGE, length: RANGE })),
  )
  const counters = await readCounters(session)
  expect(frontend.backendMessages - atStart).toBe(view ? 0 : 40)
  expect(counters.shmemMaps + counters.shmemUnmaps).toBe(frontend.backendMessages)
})
