// SPDX-License-Identifier: Apache-2.0
/** A shmem window against a frontend that answers as told: early, late, wrongly or not at all. */
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createEventFd } from '../index.ts'
import { Frontend, MAP, pending, RANGE, UNMAP, WINDOW_GPA } from './window-frontend.ts'

const { EACCES, EIO, EBUSY, EINTR, ENXIO, ENOTCONN, EROFS, EINVAL } = constants.errno

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

test('refuses by itself: an empty file, a device, a writable range of a read-only export', async () => {
  const frontend = new Frontend()
  expect(await frontend.map(0, frontend.file(0))).toBe(-ENXIO)
  expect(await frontend.map(0, frontend.file(RANGE), RANGE)).toBe(-ENXIO)
  const device = openSync('/dev/zero', 'r+')
  frontend.files.push(device)
  expect(await frontend.map(0, device)).toBe(-ENXIO)
  expect(await frontend.map(0, frontend.file(RANGE), 0, true, false)).toBe(-EROFS)
  expect(frontend.silent).toBe(true)
})

test('maps a read-only export read-only', async () => {
  const frontend = new Frontend()
  const mapped = frontend.map(0, frontend.file(RANGE), 0, false, false)
  expect((await frontend.accept()).writable).toBe(false)
  expect(await mapped).toBe(0)
})

test('maps as the descriptor allows it', async () => {
  const frontend = new Frontend()
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-shmem-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'file'), Buffer.alloc(RANGE))
  const fd = openSync(join(directory, 'file'), 'r')
  frontend.files.push(fd)
  const mapped = frontend.map(0, fd)
  const request = await frontend.accept()
  expect(request.writable).toBe(false)
  expect(await mapped).toBe(0)
  expect(await frontend.map(RANGE, fd, 0, true)).toBe(-EACCES)
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
  expect(await mapped).toBe(-EINTR)
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
  for (const [moffset, fd] of [
    [0, kept],
    [RANGE, dropped],
  ] as const) {
    const mapped = frontend.map(moffset, fd)
    await frontend.accept()
    expect(await mapped).toBe(0)
  }
  const gpa = WINDOW_GPA + BigInt(RANGE)
  frontend.control.removeRegion(BigUint64Array.of(gpa, BigInt(RANGE), gpa + 0x7000_0000_0000n, 0n))
  // A start of the first queue is a start of the device.
  frontend.control.setVringKick(0, createEventFd())
  const reset = frontend.reset()
  expect(await frontend.accept()).toMatchObject({ request: UNMAP, moffset: 0 })
  expect(await reset).toBe(0)
  expect(frontend.control.counters()).toMatchObject({ shmemLive: 0, shmemUnmaps: 1 })
})
