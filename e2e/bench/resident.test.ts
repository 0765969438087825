// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { RESIDENT_JOBS, residentTable } from './resident.ts'

test('residentTable has the medians, and the window against the others', () => {
  const job = RESIDENT_JOBS[0]?.name ?? ''
  const speeds = [
    { where: 'host', mib: [90, 100, 400] },
    { where: 'own', mib: [50, 50, 60] },
    { where: 'window', mib: [60, 10, 200] },
  ] as const
  const samples = speeds.flatMap(({ where, mib }) =>
    mib.map((each) => ({ where, job, bytesPerSecond: each * 2 ** 20 })),
  )
  expect(residentTable(samples).split('\n').slice(2)).toEqual([`| ${job} | 100 | 50 | 60 | 0.60 | 1.20 |`, ''])
})
