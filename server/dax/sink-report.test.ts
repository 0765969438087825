// SPDX-License-Identifier: Apache-2.0
import type { Logger } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { SinkReport } from './sink-report.ts'

test('reports what has become more, once', () => {
  const counts = { readErrors: 0, lostWrites: 0, lostOffset: 0 }
  const warn = vi.fn<Logger['warn']>()
  const report = new SinkReport(() => ({ ...counts }), { warn })
  onTestFinished(() => report.close())
  report.look()
  expect(warn).not.toHaveBeenCalled()

  counts.readErrors = 2
  report.look()
  report.look()
  expect(warn.mock.calls).toEqual([[{ pages: 2, total: 2 }, expect.stringMatching(/could not be read/)]])

  warn.mockClear()
  Object.assign(counts, { readErrors: 3, lostWrites: 5, lostOffset: 8192 })
  report.look()
  expect(warn.mock.calls).toEqual([
    [{ pages: 1, total: 3 }, expect.stringMatching(/could not be read/)],
    [{ pages: 5, total: 5, windowOffset: 8192 }, expect.stringMatching(/is lost/)],
  ])
})
