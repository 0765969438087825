// SPDX-License-Identifier: Apache-2.0
import type { Logger } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { SinkReport } from './sink-report.ts'

const counts = { readErrors: 0, lostWrites: 0, lostOffset: 0 }

function start(files: ReadonlyMap<number, string>) {
  Object.assign(counts, { readErrors: 0, lostWrites: 0, lostOffset: 0 })
  const warn = vi.fn<Logger['warn']>()
  const report = new SinkReport(
    () => ({ ...counts }),
    (offset) => Promise.resolve(files.get(offset) ?? ''),
    { warn },
  )
  onTestFinished(() => report.close())
  return { report, warn }
}

test('reports what has become more, once', async () => {
  const { report, warn } = start(new Map())
  await report.look()
  expect(warn).not.toHaveBeenCalled()

  counts.readErrors = 2
  await report.look()
  await report.look()
  expect(warn.mock.calls).toEqual([
    [{ event: 'files-unread', pages: 2, total: 2 }, expect.stringMatching(/could not be read/)],
  ])

  warn.mockClear()
  Object.assign(counts, { readErrors: 3, lostWrites: 5, lostOffset: 8192 })
  await report.look()
  expect(warn.mock.calls).toEqual([
    [{ event: 'files-unread', pages: 1, total: 3 }, expect.stringMatching(/could not be read/)],
    [{ event: 'write-lost', pages: 5, total: 5, windowOffset: 8192 }, expect.stringMatching(/is lost/)],
  ])
})

test('names each file once', async () => {
  const { report, warn } = start(
    new Map([
      [0, '/one'],
      [4096, '/one'],
      [8192, '/two'],
    ]),
  )
  for (const lostOffset of [0, 4096, 8192, 0]) {
    Object.assign(counts, { lostWrites: counts.lostWrites + 1, lostOffset })
    await report.look()
  }
  expect(warn.mock.calls.map(([fields]) => fields)).toEqual([
    { event: 'write-lost', pages: 1, total: 1, windowOffset: 0, file: '/one' },
    { event: 'write-lost', pages: 1, total: 3, windowOffset: 8192, file: '/two' },
  ])
})
