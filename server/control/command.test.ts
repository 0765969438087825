// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { ControlError, decodeCommand, encodeReply, PLAIN_COMMANDS } from './command.ts'

test('understands each command', () => {
  for (const command of PLAIN_COMMANDS) expect(decodeCommand(`{"command":"${command}"}`)).toEqual({ command })
  expect(decodeCommand('{"command":"forget","path":"/a"}')).toEqual({ command: 'forget', path: '/a' })
  expect(decodeCommand('{"level":"debug","command":"log-level"}')).toEqual({ command: 'log-level', level: 'debug' })
})

test.each([
  ['', /not JSON/],
  ['status', /not JSON/],
  ['{"command":"status"', /not JSON/],
  ['null', /not an object/],
  ['["status"]', /not an object/],
  ['{}', /must be one of/],
  ['{"command":["status"]}', /must be one of/],
  ['{"command":"__proto__"}', /must be one of/],
  ['{"command":"status","level":"debug"}', /takes nothing/],
  ['{"command":"forget"}', /takes a path/],
  ['{"command":"forget","path":1}', /takes a path/],
  ['{"command":"forget","path":"a\\u0000b"}', /takes a path/],
  ['{"command":"forget","path":"a","more":1}', /takes a path/],
  ['{"command":"log-level"}', /takes a level/],
  ['{"command":"log-level","level":"loud"}', /takes a level/],
  ['{"command":"log-level","level":"debug","more":1}', /takes a level/],
])('refuses %s', (line, reason) => {
  expect(() => decodeCommand(line)).toThrow(ControlError)
  expect(() => decodeCommand(line)).toThrow(reason)
})

test('a reply is one line, whatever is in it', () => {
  expect(encodeReply({ ok: true, result: 'a\nb' })).toBe('{"ok":true,"result":"a\\nb"}\n')
})
