// SPDX-License-Identifier: Apache-2.0
/** share/grafana-dashboard.json asks for what there is, and doc/metrics.md lists it. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openMetrics } from './open-metrics.ts'
import { LATENCIES, METRICS, STATUS } from './testing.ts'

/** All that there is with a memory view. */
const TEXT = openMetrics(
  { ...METRICS, window: { ...METRICS.window, zaps: 0, retries: 0, sinks: 0, readErrors: 0, lostWrites: 0 } },
  STATUS,
  LATENCIES,
)
const DASHBOARD = readFileSync(new URL('../../share/grafana-dashboard.json', import.meta.url), 'utf8')

test('each metric of the dashboard is served', () => {
  const served = new Set(
    TEXT.split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => /^\w+/.exec(line)?.[0]),
  )
  const asked = new Set(DASHBOARD.match(/\bviewfsd_\w+/g))
  expect(asked.size).toBeGreaterThan(15)
  expect([...asked].filter((name) => !served.has(name))).toEqual([])
})

test('its panels are numbered, described by a title and side by side', () => {
  const { panels }: { panels: { id: number; title: string; gridPos: { x: number; w: number } }[] } =
    JSON.parse(DASHBOARD)
  expect(panels.map(({ id }) => id)).toEqual(panels.map((_, index) => index + 1))
  for (const { title, gridPos } of panels) {
    expect(title).not.toBe('')
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
  }
})

test('the page lists what there is', () => {
  const families = TEXT.matchAll(/# TYPE (\S+) (\S+)\n(?:# UNIT .*\n)?# HELP \S+ (.*)\n/g)
  const rows = [...families].map(
    ([, name, type, help]) => `| \`${name}${type === 'counter' ? '_total' : ''}\` | ${type} | ${help} |`,
  )
  const page = readFileSync(new URL('../../doc/metrics.md', import.meta.url), 'utf8')
  expect(page.split('\n').filter((line) => line.startsWith('| `'))).toEqual(rows.toSorted())
})
