// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { VIEWABLE_TYPES } from '../../dax/viewable.ts'
import { FILES, LATENCIES, METRICS, STATUS } from '../testing.ts'
import { parseCtl } from './arguments.ts'
import { type Candidate, daxReport, daxScreen, judgeDax } from './dax.ts'
import { requestsScreen, statusScreen } from './screens.ts'
import { topReport, topScreen } from './top.ts'
import { bytes, duration, latency } from './units.ts'

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ctl-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

test('finds the socket: beside the one that is named, or the only one of the run directory', () => {
  const directory = scratch()
  writeFileSync(join(directory, 'a.sock.ctl'), '')
  expect(parseCtl(['status', '-s', join(directory, 'a.sock')])?.socket).toBe(join(directory, 'a.sock.ctl'))
  expect(parseCtl(['status', '-s', join(directory, 'a.sock.ctl')])?.socket).toBe(join(directory, 'a.sock.ctl'))
  expect(parseCtl(['status', '-s', '/other'])?.socket).toBe('/other')
  expect(parseCtl(['status'], directory)?.socket).toBe(join(directory, 'a.sock.ctl'))
  writeFileSync(join(directory, 'b.sock.ctl'), '')
  expect(() => parseCtl(['status'], directory)).toThrow(/which daemon\? .* has a\.sock\.ctl, b\.sock\.ctl/)
  mkdirSync(join(directory, 'empty'))
  expect(() => parseCtl(['status'], join(directory, 'empty'))).toThrow(/has none; name its socket/)
})

test.each([
  [[], /must be one of status/],
  [['stat'], /must be one of status/],
  [['status', 'x'], /unexpected argument "x"/],
  [['dax', 'x', 'y'], /unexpected argument "y"/],
  [['log-level'], /needs a level/],
  [['status', '--bogus'], /bogus/],
])('refuses %j', (args, reason) => {
  expect(() => parseCtl([...args, '--socket=/x'])).toThrow(reason)
})

const GOOD: Candidate = {
  regular: true,
  directory: false,
  sizeBytes: 1 << 20,
  ageSeconds: 100,
  fileSystem: VIEWABLE_TYPES[0] ?? 0,
}
const SESSION = STATUS.session

test.each<[what: Parameters<typeof judgeDax>, allowed: boolean, reason: RegExp]>([
  [[STATUS, GOOD], true, /by --dax-policy/],
  [[STATUS, { ...GOOD, sizeBytes: 1000 }], false, /it has 1000 B; --dax-policy wants 64 KiB/],
  [[STATUS, { ...GOOD, ageSeconds: 5 }], false, /changed in the last 10 s/],
  [[STATUS, { ...GOOD, fileSystem: 1 }], false, /this file system/],
  [[STATUS, { ...GOOD, regular: false }], false, /only regular files/],
  [[{ ...STATUS, daxPolicy: { ...STATUS.daxPolicy, enabled: false } }, GOOD], false, /--dax-policy=never/],
  [[{ ...STATUS, session: null }, GOOD], false, /no guest/],
  [[{ ...STATUS, session: SESSION && { ...SESSION, window: false } }, GOOD], false, /dax=never/],
  [
    [
      { ...STATUS, session: SESSION && { ...SESSION, daxForEveryFile: true } },
      { ...GOOD, sizeBytes: 1 },
    ],
    true,
    /dax=always/,
  ],
  [[{ ...STATUS, window: { ...STATUS.window, active: false } }, GOOD], false, /frontend shows no window/],
  [[{ ...STATUS, window: { ...STATUS.window, kind: 'none' } }, GOOD], false, /has no window/],
])('says who may be in the window, and why not: %#', (what, allowed, reason) => {
  const verdict = judgeDax(...what)
  expect(verdict.allowed).toBe(allowed)
  expect(verdict.reason).toMatch(reason)
})

test('numbers as people read them', () => {
  expect([0, 1023, 1024, 1536, 1 << 30].map(bytes)).toEqual(['0 B', '1023 B', '1 KiB', '1.5 KiB', '1 GiB'])
  expect([1500, 50_000, 2.5e6, 5e7, 3e9].map(latency)).toEqual(['1.5 us', '50 us', '2.5 ms', '50 ms', '3.0 s'])
  expect([5, 65, 3700, 90_000].map(duration)).toEqual(['5 s', '1 min 5 s', '1 h 1 min', '1 d 1 h'])
})

test('screens', () => {
  expect(statusScreen({ ...STATUS, sharedDir: '/srv/\u001b[2Jx' })).toMatchInlineSnapshot(`
    "viewfsd    0.1.0, up 1 h 1 min
    directory  /srv/?[2Jx, tag data
    frontend   connected for 1 min 0 s
    guest      FUSE 7.46, window, file by file, flags 0x1 0x0
    window     memory-view, 1 GiB, shown by the frontend, 3 live ranges
    sink       0 pages; 0 lost writes, 0 read errors
    requests   0 under way, queue threads: 1
    restarts   3, the last one 2 min 5 s ago: SIGSEGV
    log level  info
    "
  `)
  const last = { cause: 'SIGABRT', secondsAgo: 1 }
  const servers = { restarts: 10, last, crashes: 10, refusing: true }
  expect(statusScreen({ ...STATUS, servers })).toContain(
    'restarts   10, the last one 1 s ago: SIGABRT, after 10 crashes within a minute: EVERY REQUEST GETS EIO\n',
  )
  expect(statusScreen({ ...STATUS, servers: { ...servers, restarts: 0, last: null } })).toContain('restarts   none\n')
  expect(statusScreen({ ...STATUS, servers: null })).not.toContain('restarts')
  expect(requestsScreen([])).toContain('no queue thread')
  const since = '2026-11-28T23:00:00.000Z'
  expect(
    requestsScreen([{ opcode: 'READ', nodeid: 5, path: '/a\nb', queueThread: 0, since, milliseconds: 12_000 }]),
  ).toMatchInlineSnapshot(`
    "queue thread 0  READ            nodeid 5 /a?b  for 12000 ms, since 2026-11-28T23:00:00.000Z
    "
  `)
})

test('top: rates and latencies of what has come since, files, and the window as blocks', () => {
  const requests = { LOOKUP: 7, READ: 140 }
  const counters = { ...METRICS, fuse: { ...METRICS.fuse, requests, requestsTotal: 147, bytesRead: 8192 + (8 << 20) } }
  const files = { ...FILES, files: FILES.files.map((file) => ({ ...file, requests: file.requests + 20 })) }
  const after = { counters, latencies: LATENCIES, files }
  const report = topReport({ counters: METRICS, latencies: [], files: FILES }, after, 2)
  expect(report).toMatchObject({ requestsPerSecond: 50, readBytesPerSecond: 4 << 20, writtenBytesPerSecond: 0 })
  expect(report.opcodes).toEqual([{ opcode: 'READ', perSecond: 50, p50: 1280, p99: 2 ** 30 * 1.25 }])
  expect(topScreen(STATUS, after, report)).toMatchInlineSnapshot(`
    "guest          FUSE 7.46, window, file by file, flags 0x1 0x0
    window         memory-view, 1 GiB, shown by the frontend, 3 live ranges
    requests       50/s, 0 under way
    READ           4 MiB/s
    WRITE          0 B/s
    window faults  0/s, 0 mappings/s

    opcode  per second     p50    p99
      READ          50  1.3 us  1.3 s

    per second  ranges  file
            10       1  /a/file
            10       0  /

    window  |▄                                                              █|
    "
  `)
})

test('says what of a file or directory is mapped, and how many of its files may be', () => {
  const directory = scratch()
  mkdirSync(join(directory, 'a'))
  writeFileSync(join(directory, 'a/file'), '')
  writeFileSync(join(directory, 'a/other'), '')
  const status = { ...STATUS, sharedDir: directory, session: null }
  const mapped = (path?: string): readonly (string | null)[] =>
    daxReport(status, METRICS, FILES, path).mapped.map((file) => file.path)
  expect(mapped()).toEqual(['/a/file'])
  expect(mapped(directory)).toEqual(['/a/file'])
  expect(mapped(join(directory, 'a'))).toEqual(['/a/file'])
  expect(mapped(join(directory, 'a/other'))).toEqual([])
  const { dev, ino } = statSync(join(directory, 'a/file'))
  // Known by its number alone.
  const renamed = { ...FILES, files: FILES.files.map((file) => ({ ...file, path: null, device: dev, inode: ino })) }
  expect(daxReport(status, METRICS, renamed, join(directory, 'a/file')).mapped).toHaveLength(1)
  const screen = daxScreen(daxReport(status, METRICS, FILES, join(directory, 'a')))
  expect(screen).toContain('  2 files: no, no guest has the directory mounted\n')
  expect(screen).toContain('/a/file: 1 range mapped\n  0x0-0x200000 at 0x200000, read-only\n')
})

test('says how much of a memory view the frontend has, and how much of that by huge pages', () => {
  const use = { faults: 3, mappedBytes: 2 << 20, hugeBytes: 1 << 20 }
  const [file] = FILES.files
  const [range] = file?.ranges ?? []
  if (file === undefined || range === undefined) throw new Error('no file with a range')
  const other = { ...range, windowOffset: 0, use: { faults: 1, mappedBytes: 4096, hugeBytes: 0 } }
  const files = [{ ...file, rangeCount: 2, ranges: [{ ...range, use }, other] }]
  const screen = daxScreen(daxReport(STATUS, METRICS, { ...FILES, files, use }, undefined))
  expect(screen).toContain("in use: 2 MiB in the frontend's page tables, 1 MiB by pages of 2 MiB\n")
  expect(screen).toContain('2 ranges mapped, 4 faults, 2.0 MiB in use, 1 MiB by pages of 2 MiB\n')
  expect(screen).toContain('read-only, 1 fault, 4 KiB in use, 0 B by pages of 2 MiB\n')
})
