// SPDX-License-Identifier: Apache-2.0
import type { Logger } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { SmallWindowReport } from './small-window-report.ts'

test('tells once of a window that is too small', () => {
  const warn = vi.fn<Logger['warn']>()
  let wanted = 0
  const report = new SmallWindowReport(() => wanted, 2 ** 30, { warn })
  onTestFinished(() => report.close())
  // Few in each interval, however many in all.
  for (let interval = 0; interval < 10; interval++) {
    wanted += 99
    report.look()
  }
  expect(warn).not.toHaveBeenCalled()
  wanted += 250
  report.look()
  expect(warn.mock.calls).toEqual([
    [
      { event: 'window-small', windowSize: 2 ** 30, ranges: 250 },
      expect.stringMatching(/too small: .* 250 ranges .*--window-size/),
    ],
  ])
})
