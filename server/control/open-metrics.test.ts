// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { openMetrics } from './open-metrics.ts'
import { LATENCIES, METRICS, STATUS } from './testing.ts'

interface Family {
  type?: string
  unit?: string
  help?: string
  readonly samples: [name: string, labels: string, value: number][]
}

/** As OpenMetrics 1.0, "ABNF", has it, as far as counters, gauges and histograms of no time stamps go. */
function parse(text: string): Map<string, Family> {
  const lines = text.split('\n')
  expect(lines.slice(-2)).toEqual(['# EOF', ''])
  const families = new Map<string, Family>()
  let current = ''
  for (const line of lines.slice(0, -2)) {
    const about = /^# (TYPE|UNIT|HELP) ([a-z_]+) (\S.*)$/.exec(line)
    if (about !== null) {
      const [, what = '', name = '', value = ''] = about
      if (what === 'TYPE') {
        expect(families.has(name), name).toBe(false)
        families.set(name, { samples: [] })
        current = name
      }
      expect(name).toBe(current)
      expect(families.get(name)?.samples).toEqual([])
      Object.assign(families.get(name) ?? {}, { [what.toLowerCase()]: value })
    } else {
      const sample =
        /^([a-z_]+)((?:\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})?) (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line)
      expect(sample, line).not.toBeNull()
      families.get(current)?.samples.push([sample?.[1] ?? '', sample?.[2] ?? '', Number(sample?.[3])])
    }
  }
  return families
}

test('is OpenMetrics, with help and units', () => {
  const families = parse(openMetrics(METRICS, STATUS, LATENCIES))
  for (const [name, { type, unit, help, samples }] of families) {
    expect(help, name).toMatch(/\.$/)
    expect(['counter', 'gauge', 'histogram']).toContain(type)
    if (unit !== undefined) expect(name).toMatch(new RegExp(`_${unit}$`))
    if (/_(bytes|seconds)$/.test(name)) expect(unit, name).toBeDefined()
    expect(samples.length, name).toBeGreaterThan(0)
    const endings = type === 'counter' ? ['_total'] : type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    for (const [sample] of samples) expect(endings.map((ending) => name + ending)).toContain(sample)
  }
  expect(families.get('viewfsd_requests')?.samples).toEqual([
    ['viewfsd_requests_total', '{opcode="LOOKUP"}', 7],
    ['viewfsd_requests_total', '{opcode="READ"}', 40],
  ])
  expect(families.get('viewfsd_read_bytes')?.samples).toEqual([['viewfsd_read_bytes_total', '', 8192]])
  expect(families.get('viewfsd_window_faults')?.samples).toEqual([['viewfsd_window_faults_total', '', 60]])
})

test('has a histogram of latencies by opcode, whose steps rise', () => {
  const text = openMetrics(METRICS, STATUS, LATENCIES)
  const samples = parse(text).get('viewfsd_request_duration_seconds')?.samples ?? []
  const counts = samples.filter(([name]) => name.endsWith('_bucket')).map(([, , count]) => count)
  expect(counts).toEqual(counts.toSorted((one, other) => one - other))
  expect(counts).toHaveLength(29)
  expect(text).toContain('_bucket{opcode="READ",le="0.000002048"} 30\n')
  expect(text).toContain('_bucket{opcode="READ",le="+Inf"} 40\n')
  expect(text).toContain('_sum{opcode="READ"} 1.1\n')
  expect(text).toContain('_count{opcode="READ"} 40\n')
})

test('says nothing of a driver where there is none', () => {
  const window = { kind: 'none', active: false, sizeBytes: 0, live: 0, wantedAgain: 0 } as const
  const families = parse(openMetrics({ ...METRICS, window }, { ...STATUS, window }, []))
  expect(families.has('viewfsd_window_faults')).toBe(false)
  expect(families.get('viewfsd_window_bytes')?.samples).toEqual([['viewfsd_window_bytes', '', 0]])
})
