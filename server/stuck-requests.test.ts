// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import type { RequestInProgress } from '../native/index.ts'
import { logWaiting, StuckRequests } from './stuck-requests.ts'

const START = Date.UTC(2026, 0, 1)

/** What two threads are at work on. */
function at(seconds: number, numbers: readonly [number, number]): RequestInProgress[] {
  return numbers.map((number, worker) => ({ worker, number, opcode: 14, nodeid: 7, milliseconds: seconds * 1000 }))
}

test('a request is named once when it has been stuck for 10 s, and once when it ends', () => {
  let now = START
  const lines: unknown[][] = []
  const stuck = new StuckRequests({ warn: (...line: unknown[]) => lines.push(line) }, () => now)
  const look = (seconds: number, requests: RequestInProgress[]): void => {
    now = START + seconds * 1000
    stuck.look(requests)
  }
  look(9, at(9, [1, 2]))
  expect(lines).toEqual([])
  for (const seconds of [10, 11, 12]) look(seconds, at(seconds, [1, 2]).slice(0, 1))
  const request = { worker: 0, opcode: 'OPEN', nodeid: 7, since: '2026-01-01T00:00:00.000Z' }
  expect(lines.splice(0)).toEqual([
    [{ event: 'request-stuck', ...request }, 'a request is stuck: the host has not answered for 10 s'],
  ])
  // The next one of the same thread is another one, and may get stuck, too.
  look(13, at(0, [2, 2]))
  expect(lines.splice(0)).toEqual([
    [{ event: 'request-ended', ...request, seconds: 13 }, 'a request that was stuck has ended'],
  ])
  look(23, at(10, [2, 2]))
  expect(lines.splice(0).length).toBe(2)
  look(24, [])
  expect(lines.length).toBe(2)
})

test('one that waits, set aside, is named alike', () => {
  const lines: unknown[][] = []
  const log = { warn: (...line: unknown[]) => lines.push(line) }
  const waiting = { unique: 1, opcode: 33, nodeid: 7 }
  logWaiting(log, waiting, 10_000, false, START + 10_000)
  logWaiting(log, waiting, 13_400, true, START + 13_400)
  const request = { opcode: 'SETLKW', nodeid: 7, since: '2026-01-01T00:00:00.000Z' }
  expect(lines).toEqual([
    [
      { event: 'request-waiting', ...request },
      'a request is stuck: it has waited for 10 s for a lock or a lease on the host',
    ],
    [{ event: 'request-ended', ...request, seconds: 13 }, 'a request that was stuck has ended'],
  ])
})
