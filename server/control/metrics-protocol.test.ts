// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { metricsProtocol } from './metrics-protocol.ts'

const protocol = metricsProtocol(() => 'a_total 1\n# EOF\n')

function length(text: string): number | undefined {
  return protocol.lengthOfFirst(new TextEncoder().encode(text))
}

test('a request ends with an empty line', () => {
  expect(length('GET /metrics HTTP/1.1\r\nHost: x\r\n')).toBeUndefined()
  expect(length('GET /metrics HTTP/1.1\r\n\r\n')).toBe(25)
  expect(length('\r\n\r\nmore')).toBe(4)
})

test.each([
  ['GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*\r\na_total 1\n# EOF\n$/],
  ['GET /metrics?x=1 HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/openmetrics-text; version=1/],
  ['HEAD /metrics HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*Content-Length: 16\r\n(.+\r\n)*\r\n$/],
  ['GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 404 /],
  ['POST /metrics HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 405 [^]*\r\nAllow: GET, HEAD\r\n/],
  ['GET /metrics HTTP/2\r\n\r\n', /^HTTP\/1\.1 400 /],
  ['\r\n\r\n', /^HTTP\/1\.1 400 /],
])('answers %j', async (request, reply) => {
  expect(await protocol.answer(request)).toMatch(reply)
})
