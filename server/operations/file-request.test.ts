// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { Field, FIELDS } from '../../native/file-request.ts'

test('both sides know the same places of a record', () => {
  const header = readFileSync(resolve(import.meta.dirname, '../../native/binding/file_request.h'), 'utf8')
  const body = /enum Field : size_t \{([^}]*)\}/.exec(header)?.[1] ?? ''
  const names = Array.from(body.matchAll(/k(\w)(\w*),/g), ([, first = '', rest = '']) => first.toLowerCase() + rest)
  expect(names).toEqual([...Object.keys(Field), 'fields'])
  expect(Object.values(Field)).toEqual(Array.from({ length: FIELDS }, (_, place) => place))
})
