// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { planWindow, WindowUnavailableError } from '../../server/dax/window.ts'

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-window-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

test('auto goes without a window where there is no device, and says why', () => {
  const plan = planWindow('auto', 2 ** 30, 'sink', join(scratch(), 'missing'))
  expect(plan).toMatchObject({ kind: 'none', sizeBytes: 0 })
  expect(plan.reason).toMatch(/is missing: load the memory_view module/)
})

test('memory-view fails there, and says what to do', () => {
  const device = join(scratch(), 'missing')
  expect(() => planWindow('memory-view', 2 ** 30, 'sink', device)).toThrow(WindowUnavailableError)
  expect(() => planWindow('memory-view', 2 ** 30, 'sink', device)).toThrow(/modprobe/)
})

test('tells a device that is not the driver by its answer', () => {
  const device = join(scratch(), 'file')
  writeFileSync(device, '')
  chmodSync(device, 0o600)
  expect(() => planWindow('memory-view', 2 ** 30, 'sink', device)).toThrow(/is no memory view/)
})

test('shmem and none need nothing of this host', () => {
  expect(planWindow('shmem', 2 ** 30, 'sink')).toMatchObject({ kind: 'shmem', sizeBytes: 2 ** 30 })
  expect(planWindow('none', 2 ** 30, 'sink')).toMatchObject({ kind: 'none', sizeBytes: 0 })
})
