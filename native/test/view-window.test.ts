// SPDX-License-Identifier: Apache-2.0
/** Making a memory view visible as the window; a memfd stands for the view, which changes nothing here. */
import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { expect, onTestFinished, test } from 'vitest'
import { testing } from '../testing/index.ts'
import { Frontend, MAP, pending, RANGE, type Request, WINDOW_GPA } from './window-frontend.ts'

const { EINTR, EIO, ENOTCONN, ETIMEDOUT } = constants.errno
const SIZE = 4 * RANGE
const TAIL = 4096

function makeView(): number {
  const fd = testing.memfdCreate('view', SIZE)
  onTestFinished(() => closeSync(fd))
  return fd
}

function remove(frontend: Frontend, request: Request): void {
  const gpa = WINDOW_GPA + BigInt(request.moffset)
  frontend.control.removeRegion(
    BigUint64Array.of(gpa, BigInt(request.length), gpa + 0x7000_0000_0000n, BigInt(request.fdOffset)),
  )
}

test('maps the whole view but its last page, then that, and waits for the table to hold both', async () => {
  const frontend = new Frontend()
  const view = makeView()
  const started = frontend.startView(view, SIZE)
  const body = await frontend.request()
  expect(body).toMatchObject({ request: MAP, fdOffset: 0, moffset: 0, length: SIZE - TAIL, writable: true })
  frontend.reply(MAP, 0)
  const tail = await frontend.request()
  expect(tail).toMatchObject({ fdOffset: SIZE - TAIL, moffset: SIZE - TAIL, length: TAIL, writable: true })
  frontend.reply(MAP, 0)
  frontend.commit(body)
  expect(await pending(started)).toBe(true)
  frontend.commit(tail)
  expect(await started).toBe(0)
})

test('asks for nothing while the table holds the view, and again when a reset has taken it out', async () => {
  const frontend = new Frontend()
  const view = makeView()
  const started = frontend.startView(view, SIZE)
  const parts = [await frontend.accept(), await frontend.accept()]
  expect(await started).toBe(0)
  expect(frontend.control.viewLost(view, SIZE)).toBe(false)
  expect(await frontend.startView(view, SIZE)).toBe(0)
  expect(frontend.silent).toBe(true)
  for (const part of parts) remove(frontend, part)
  expect(frontend.control.viewLost(view, SIZE)).toBe(true)
  frontend.control.forgetWindow()
  expect(frontend.control.viewLost(view, SIZE)).toBe(false)
  const again = frontend.startView(view, SIZE)
  await frontend.accept()
  await frontend.accept()
  expect(await again).toBe(0)
  expect(frontend.control.counters().shmemMaps).toBe(4)
})

test('tells what went wrong, and can be tried again without repeating what is done', async () => {
  const frontend = new Frontend()
  const view = makeView()
  const refused = frontend.startView(view, SIZE)
  await frontend.accept()
  await frontend.request()
  frontend.reply(MAP, 1)
  expect(await refused).toBe(-EIO)
  const again = frontend.startView(view, SIZE)
  expect((await frontend.accept()).moffset).toBe(SIZE - TAIL)
  expect(await again).toBe(0)
})

test('times out without the table, gives up at a stop, and needs a channel', async () => {
  const frontend = new Frontend()
  const view = makeView()
  const late = frontend.startView(view, SIZE, 50)
  for (let i = 0; i < 2; i++) {
    await frontend.request()
    frontend.reply(MAP, 0)
  }
  expect(await late).toBe(-ETIMEDOUT)
  const stopped = frontend.startView(view, SIZE)
  await frontend.request()
  frontend.control.requestStop(0)
  expect(await stopped).toBe(-EINTR)
  frontend.control.finishStop(0)
  frontend.control.setBackendSocket(-1)
  expect(await frontend.startView(view, SIZE)).toBe(-ENOTCONN)
})
