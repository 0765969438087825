// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { cpuTimeBetween, requestsBetween, timeTable } from './cpu-time.ts'

/** As viewfsd has them. */
function counters(read: number): Map<string, number> {
  return new Map([
    ['fuse.requests.READ', read],
    ['fuse.requests.INIT', 1],
    ['fuse.bytesRead', read * 4096],
  ])
}

describe('the time of a miss', () => {
  const before = { wall: 1e9, vcpu: 5e9, qemu: 1e9, daemon: 0, exits: 100 }
  const after = { wall: 3e9, vcpu: 6e9, qemu: 1.5e9, daemon: 0.1e9, exits: 4100 }

  test('is shared out, with the requests that a read needs', () => {
    const table = timeTable([
      {
        windowFraction: 0.25,
        ...cpuTimeBetween(before, after),
        reads: 200,
        requests: { SETUPMAPPING: 150, REMOVEMAPPING: 151, GETATTR: 0 },
      },
    ])
    expect(table.split('\n')[2]).toBe(
      '| 0.25 x file | 10.00 | 0.75 SETUPMAPPING, 0.76 REMOVEMAPPING | 20 | 50.0 % | 25.0 % | 5.0 % | 20.0 % |',
    )
  })

  test('counts what was served meanwhile', () => {
    expect(requestsBetween(counters(3), counters(10))).toEqual({ READ: 7 })
  })
})
