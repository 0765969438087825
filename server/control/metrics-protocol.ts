// SPDX-License-Identifier: Apache-2.0
/** --metrics: the counters over HTTP, for Prometheus and its like. One request a connection. */
import { MAX_MESSAGE_BYTES, type Protocol } from './peer-connection.ts'

const TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
const HEAD_END = new TextEncoder().encode('\r\n\r\n')

export function metricsProtocol(metrics: () => string): Protocol {
  return {
    lengthOfFirst: (bytes) => {
      const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(HEAD_END)
      return end < 0 ? undefined : end + HEAD_END.length
    },
    answer: (head) => Promise.resolve(respond(head, metrics)),
    tooLong: response('431 Request Header Fields Too Large', `no more than ${MAX_MESSAGE_BYTES} bytes\n`),
    once: true,
  }
}

/** @param head the request's, as RFC 9112 has it */
function respond(head: string, metrics: () => string): string {
  const line = /^([A-Z]+) ([^ ]+) HTTP\/1\.[01]\r\n/.exec(head)
  if (line === null) return response('400 Bad Request', 'not a request of HTTP/1\n')
  const [, method = '', target = ''] = line
  if (method !== 'GET' && method !== 'HEAD')
    return response('405 Method Not Allowed', 'only GET\n', ['Allow: GET, HEAD'])
  if (target.replace(/\?.*$/, '') !== '/metrics') return response('404 Not Found', 'only /metrics\n')
  const whole = response('200 OK', metrics(), [], TYPE)
  return method === 'GET' ? whole : whole.slice(0, whole.indexOf('\r\n\r\n') + 4)
}

function response(status: string, body: string, more: readonly string[] = [], type = 'text/plain'): string {
  const headers = [`Content-Type: ${type}`, `Content-Length: ${Buffer.byteLength(body)}`, 'Connection: close', ...more]
  return `HTTP/1.1 ${status}\r\n${headers.join('\r\n')}\r\n\r\n${body}`
}
