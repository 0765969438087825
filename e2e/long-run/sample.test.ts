// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { growth, type ProcessSample, type Role, type Sample } from './sample.ts'

const ROLES: readonly Role[] = ['launcher', 'first', 'starter', 'server', 'keeper']

function sample(changes: Partial<Sample> = {}, server: Partial<ProcessSample> = {}): Sample {
  const usual = { descriptors: 20, threads: 4, anonKiB: 1000, pssKiB: 2000 }
  const roles = Object.fromEntries(ROLES.map((role) => [role, role === 'server' ? { ...usual, ...server } : usual]))
  return {
    processes: 5,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- has all of ROLES
    roles: roles as Record<Role, ProcessSample>,
    segments: 0,
    sinkPages: 0,
    anchors: 0,
    sharedKiB: 4096,
    kernelKiB: 900,
    requests: 1,
    ...changes,
  }
}

test('nothing has grown where all is the same, whatever has been served', () => {
  expect(growth(sample(), sample({ requests: 1e6 }), {})).toEqual([])
})

test.each([
  ['processes', sample({ processes: 6 })],
  ['segments', sample({ segments: 1 })],
  ['anchors', sample({ anchors: 1 })],
  ['server.descriptors', sample({}, { descriptors: 21 })],
  ['server.descriptors', sample({}, { descriptors: 19 })],
  ['server.threads', sample({}, { threads: 5 })],
])('one more of %s is seen, and one that is missing', (name, after) => {
  expect(growth(sample(), after, { 'server.anonKiB': 100 })).toEqual([expect.stringContaining(`${name}: `)])
})

test('memory may grow by its margin, and no more', () => {
  const margins = { 'server.anonKiB': 100, kernelKiB: 10 }
  expect(growth(sample(), sample({ kernelKiB: 910 }, { anonKiB: 1100 }), margins)).toEqual([])
  expect(growth(sample(), sample({ kernelKiB: 911 }, { anonKiB: 1101 }), margins)).toEqual([
    'kernelKiB: 900, then 911 (at most 10 more)',
    'server.anonKiB: 1000, then 1101 (at most 100 more)',
  ])
  expect(growth(sample(), sample({ kernelKiB: 100 }), margins)).toEqual([])
})
