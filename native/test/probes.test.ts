// SPDX-License-Identifier: Apache-2.0
/** The USDT probes: where tracers find them, and that they tell what happens. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { requests } from '../../server/fuse/testing/messages.ts'
import { addonPath } from '../index.ts'
import { RingDriver } from './ring-driver.ts'
import { PassthroughBench } from './testing/passthrough-bench.ts'
import { probesOf } from './testing/probes.ts'

const NOP = 0x90
const PAGE = readFileSync(new URL('../../doc/tracing.md', import.meta.url), 'utf8')

/** As the page lists them. */
const LISTED = [...PAGE.matchAll(/^\| `viewfsd:(\w+)` \| (.*?) \|/gm)].map(([, name = '', list = '']) => ({
  name,
  count: list.split(', ').length,
}))

test('the page lists what the addon has, with its arguments', () => {
  const probes = probesOf(addonPath())
  const found = new Map(probes.map(({ name, arguments: text }) => [name, text.split(' ').length]))
  expect(LISTED.length).toBeGreaterThan(0)
  expect(found).toEqual(new Map(LISTED.map(({ name, count }) => [name, count])))
  for (const { semaphore, instruction } of probes) {
    expect(instruction).toBe(NOP)
    expect(semaphore).toBeGreaterThan(0)
  }
})

/** This process's trace buffer of `names`, each with its arguments as a1, a2 ..., raising their semaphores. */
function trace(names: readonly string[]): { read: () => string } {
  const root = mkdtempSync(join(tmpdir(), 'tracefs-'))
  execFileSync('mount', ['-t', 'tracefs', 'none', root])
  const group = `viewfsd_test_${process.pid}`
  const instance = join(root, 'instances', group)
  const events = join(root, 'uprobe_events')
  mkdirSync(instance)
  onTestFinished(() => {
    writeFileSync(join(instance, 'events', group, 'enable'), '0')
    rmdirSync(instance)
    for (const name of names) appendFileSync(events, `-:${group}/${name}`)
    execFileSync('umount', [root])
    rmdirSync(root)
  })
  const path = addonPath()
  for (const { name, arguments: text, location, semaphore } of probesOf(path)) {
    if (!names.includes(name)) continue
    // The kernel has %ax where the note has %rax.
    const args = text.split(' ').map((one, i) => `a${i + 1}=${one.slice(2).replace(/%r([a-d]x|[sd]i|bp)$/, '%$1')}:u64`)
    appendFileSync(events, `p:${group}/${name} ${path}:${location}(${semaphore}) ${args.join(' ')}\n`)
  }
  writeFileSync(join(instance, 'set_event_pid'), `${process.pid}`)
  writeFileSync(join(instance, 'events', group, 'enable'), '1')
  return { read: () => readFileSync(join(instance, 'trace'), 'utf8') }
}

const UPROBES = existsSync('/sys/bus/event_source/devices/uprobe')

// oxlint-disable-next-line vitest/no-disabled-tests -- says why: the page is for kernels that have them
test.skipIf(!UPROBES)('they fire, with their arguments (not where the kernel has no uprobes)', () => {
  const bench = new PassthroughBench()
  onTestFinished(() => bench[Symbol.dispose]())
  writeFileSync(bench.at('file'), 'contents')
  const { nodeid } = bench.lookup('file')
  const ring = new RingDriver({ directory: bench.directory })
  const { read } = trace(['request_begin', 'request_end', 'wait', 'signal'])
  const request = requests.getattr(nodeid)
  const unique = new DataView(request.buffer, request.byteOffset).getBigUint64(8, true)
  ring.submitSimple(request, 4096)
  expect(ring.worker.next(1)).toBe(-2)
  const text = read()
  expect(text).toMatch(new RegExp(` request_begin: \\(.*\\) a1=0 a2=3 a3=${unique} a4=${nodeid}\\n`))
  expect(text).toMatch(new RegExp(` request_end: \\(.*\\) a1=0 a2=${unique} a3=120\\n`))
  expect(text).toMatch(/ signal: \(.*\) a1=1\n/)
  expect(text).toMatch(/ wait: \(.*\) a1=0\n/)
})
