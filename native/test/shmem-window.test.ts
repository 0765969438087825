// SPDX-License-Identifier: Apache-2.0
/** A shmem window against a frontend that answers as told: early, late, wrongly or not at all. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { testing } from '../testing/index.ts'
import { Frontend, LATER, MAP, pending, RANGE, UNMAP, WINDOW_GPA } from './window-frontend.ts'

const { EIO, EBUSY, EINVAL, ENXIO, ENOTCONN, EROFS, ETXTBSY } = constants.errno

test('waits for the table after the reply, and asks for what can be written at once', async () => {
  const frontend = new Frontend()
  const mapped = frontend.map(3 * RANGE, frontend.file(2 * RANGE), RANGE)
  const request = await frontend.request()
  expect(request).toMatchObject({
    request: MAP,
    fdOffset: RANGE,
    moffset: 3 * RANGE,
    length: RANGE,
    writable: true,
  })
  expect(request.fds).toHaveLength(1)
  frontend.reply(MAP, 0)
  expect(await pending(mapped)).toBe(true)
  frontend.commit(request)
  expect(await mapped).toBe(0)
  expect(frontend.control.counters()).toMatchObject({ shmemMaps: 1, shmemLive: 1 })
})

test('is not taken in by the same range of the same file elsewhere', async () => {
  const frontend = new Frontend()
  const file = frontend.file(RANGE)
  const first = frontend.map(0, file)
  await frontend.accept()
  expect(await first).toBe(0)
  const second = frontend.map(RANGE, file)
  const request = await frontend.request()
  frontend.reply(MAP, 0)
  expect(await pending(second)).toBe(true)
  frontend.commit(request)
  expect(await second).toBe(0)
})

test('sends nothing for what is there, refuses what would replace it', async () => {
  const frontend = new Frontend()
  const file = frontend.file(2 * RANGE)
  const mapped = frontend.map(0, file)
  await frontend.accept()
  expect(await mapped).toBe(0)
  expect(await frontend.map(0, file, 0, true)).toBe(0)
  expect(await frontend.map(0, file, RANGE)).toBe(-EBUSY)
  expect(await frontend.unmap(0, RANGE / 2)).toBe(-EINVAL)
  expect(frontend.silent).toBe(true)
  const unmapped = frontend.unmap(0)
  expect(await frontend.accept()).toMatchObject({ request: UNMAP, moffset: 0, length: RANGE })
  expect(await unmapped).toBe(0)
})

test('refuses by itself: an empty file, what lies beyond the end, a writable range of a read-only export', async () => {
  const frontend = new Frontend()
  expect(await frontend.map(0, frontend.file(0))).toBe(-ENXIO)
  expect(await frontend.map(0, frontend.file(RANGE), RANGE)).toBe(-ENXIO)
  expect(frontend.silent).toBe(true)
  const readOnly = new Frontend(true)
  expect(await readOnly.map(0, readOnly.file(RANGE), 0, true)).toBe(-EROFS)
  expect(readOnly.silent).toBe(true)
})

test('maps a read-only export read-only', async () => {
  const frontend = new Frontend(true)
  const mapped = frontend.map(0, frontend.file(RANGE))
  expect((await frontend.accept()).writable).toBe(false)
  expect(await mapped).toBe(0)
})

test('maps as the file may be opened', async () => {
  const frontend = new Frontend()
  const program = join(frontend.path, 'program')
  copyFileSync('/bin/sleep', program)
  const running = spawn(program, ['infinity'])
  const ended = once(running, 'exit')
  await once(running, 'spawn')
  const nodeid = frontend.lookup('program')
  const mapped = frontend.map(0, nodeid)
  expect((await frontend.accept()).writable).toBe(false)
  expect(await mapped).toBe(0)
  expect(await frontend.map(RANGE, nodeid, 0, true)).toBe(-ETXTBSY)
  running.kill()
  await ended
})

test('passes a refusal on, and goes on', async () => {
  const frontend = new Frontend()
  const file = frontend.file(RANGE)
  const refused = frontend.map(0, file)
  await frontend.request()
  frontend.reply(MAP, 1)
  expect(await refused).toBe(-EIO)
  const mapped = frontend.map(0, file)
  await frontend.accept()
  expect(await mapped).toBe(0)
})

test.each([
  ['a reply to something else', (frontend: Frontend) => frontend.reply(UNMAP + 7, 0)],
  ['a request where a reply was due', (frontend: Frontend) => frontend.reply(MAP, 0, 1)],
])('closes the channel after %s', async (_name, answer) => {
  const frontend = new Frontend()
  const file = frontend.file(RANGE)
  const mapped = frontend.map(0, file)
  await frontend.request()
  answer(frontend)
  expect(await mapped).toBe(-EIO)
  expect(await frontend.map(0, file)).toBe(-ENOTCONN)
  frontend.connect()
  const again = frontend.map(0, file)
  await frontend.accept()
  expect(await again).toBe(0)
})

test('gives up when a queue is to be stopped, and learns later what became of it', async () => {
  const frontend = new Frontend()
  const file = frontend.file(RANGE)
  const mapped = frontend.map(0, file)
  const request = await frontend.request()
  frontend.control.requestStop(1)
  // Nobody uses that queue, so its stop is granted at once; what waits must give up all the same.
  expect(await mapped).toBe(LATER)
  frontend.control.finishStop(1)
  expect(frontend.control.counters().shmemLive).toBe(0)
  frontend.reply(MAP, 0)
  frontend.commit(request)
  const other = frontend.map(RANGE, file)
  await frontend.accept()
  expect(await other).toBe(0)
  expect(frontend.control.counters().shmemLive).toBe(2)
  expect(await frontend.map(0, file)).toBe(0)
  expect(frontend.control.counters().shmemMaps).toBe(2)
})

test('after a restart, has what the memory table has', async () => {
  const frontend = new Frontend()
  const [kept, dropped] = [frontend.file(RANGE), frontend.file(RANGE)]
  for (const [moffset, file] of [
    [0, kept],
    [RANGE, dropped],
  ] as const) {
    const mapped = frontend.map(moffset, file)
    await frontend.accept()
    expect(await mapped).toBe(0)
  }
  const gpa = WINDOW_GPA + BigInt(RANGE)
  frontend.control.removeRegion(BigUint64Array.of(gpa, BigInt(RANGE), gpa + 0x7000_0000_0000n, 0n))
  // A start of the first queue is a start of the device.
  frontend.control.setVringKick(0, testing.eventfd())
  const reset = frontend.reset()
  expect(await frontend.accept()).toMatchObject({ request: UNMAP, moffset: 0 })
  expect(await reset).toBe(0)
  expect(frontend.control.counters()).toMatchObject({ shmemLive: 0, shmemUnmaps: 1 })
})
