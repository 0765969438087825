// SPDX-License-Identifier: Apache-2.0
/** Every line of the log has an id of the table, and doc/logging.md lists the table. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { EVENTS } from './events.ts'

const SERVER = resolve(import.meta.dirname, '..')
const NOT_THE_DAEMON = /\.test\.ts$|^(integration|fuzz)\/|(^|\/)testing[./]/

/** What follows the parenthesis in calls such as log.warn( and this.#log.info(. */
function logCalls(file: string): { where: string; event: string | undefined }[] {
  const text = readFileSync(join(SERVER, file), 'utf8')
  return [...text.matchAll(/(?<![\w'"`])(?:this\.#)?log\.(?:fatal|error|warn|info|debug|trace)\(/g)].map((call) => {
    const after = text.slice(call.index + call[0].length)
    const event = /^\s*\{\s*event: '([a-z-]+)'/.exec(after)?.[1]
    return { where: `${file}:${text.slice(0, call.index).split('\n').length}`, event }
  })
}

const FILES = readdirSync(SERVER, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !NOT_THE_DAEMON.test(file),
)
const CALLS = FILES.flatMap(logCalls)

test('every call that logs has an id, and every id a call', () => {
  expect(CALLS.length).toBeGreaterThan(25)
  expect(CALLS.filter(({ event }) => event === undefined).map(({ where }) => where)).toEqual([])
  expect(new Set(CALLS.map(({ event }) => event))).toEqual(new Set(Object.keys(EVENTS)))
})

test('the page lists exactly these', () => {
  const page = readFileSync(resolve(SERVER, '../doc/logging.md'), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  expect(rows).toEqual(Object.entries(EVENTS).map(([id, meaning]) => `| \`${id}\` | ${meaning} |`))
})
