// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { takeSocketActivation } from './socket-activation.ts'

test('takes a socket that is meant for this process, once', () => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '1', LISTEN_FDNAMES: 'x', PATH: '/bin' }
  expect(takeSocketActivation(env, 7)).toEqual(['--fd=3'])
  expect(env).toEqual({ PATH: '/bin' })
  expect(takeSocketActivation(env, 7)).toEqual([])
})

test('leaves what is meant for another process, and refuses several', () => {
  expect(takeSocketActivation({ LISTEN_PID: '8', LISTEN_FDS: '1' }, 7)).toEqual([])
  expect(() => takeSocketActivation({ LISTEN_PID: '7', LISTEN_FDS: '2' }, 7)).toThrow(/one socket/)
})
