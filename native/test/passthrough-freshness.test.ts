// SPDX-License-Identifier: Apache-2.0
/** Which opens are answered with ESTALE, so that the guest asks for attributes first: native/host/freshness.h. */
import fs from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseInitFlag } from '../../server/fuse/abi.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, PassthroughBench } from './testing/passthrough-bench.ts'

const { O_RDONLY, O_RDWR, O_TRUNC } = fs.constants
const FLAGS = LINUX_INIT_FLAGS & ~FuseInitFlag.MAP_ALIGNMENT

let bench: PassthroughBench
beforeEach(() => start())
afterEach(() => bench[Symbol.dispose]())

function start(options: Partial<PassthroughOptions> = {}, flags = FLAGS): void {
  bench = new PassthroughBench(options)
  bench.body(requests.init({ flags }))
  fs.writeFileSync(bench.at('file'), 'abc\n')
}

function restart(options: Partial<PassthroughOptions> = {}, flags = FLAGS): void {
  bench[Symbol.dispose]()
  start(options, flags)
}

/** The error of an OPEN by a process. */
function open(nodeid: number, pid = 1, flags = O_RDONLY): number {
  return bench.errno(requests.open(nodeid, flags, 0, { pid }))
}

const rewrite = (text: string): void => fs.writeFileSync(bench.at('file'), text)

test('a file that has changed since the guest was told: once for each change and process', () => {
  const { nodeid } = bench.lookup('file')
  expect(open(nodeid)).toBe(0)
  rewrite('longer')
  expect([open(nodeid, 1), open(nodeid, 2)]).toEqual([Errno.ESTALE, Errno.ESTALE])
  // The second tries, and whoever comes later.
  expect([open(nodeid, 1), open(nodeid, 2), open(nodeid, 3)]).toEqual([0, 0, Errno.ESTALE])
  bench.lookup('file')
  expect([open(nodeid, 3), open(nodeid, 1), open(nodeid, 4)]).toEqual([0, 0, 0])
  rewrite('another length')
  expect([open(nodeid, 1), open(nodeid, 1)]).toEqual([Errno.ESTALE, 0])
  expect(bench.handles).toBe(10 - 3)
})

test('each reply with attributes tells', () => {
  const { nodeid } = bench.lookup('file')
  const tellings = [
    () => bench.lookup('file'),
    () => bench.attributes(requests.getattr(nodeid)),
    () => bench.attributes(requests.setattr(nodeid, { valid: 1, mode: 0o600 })),
    () => bench.body(requests.statx(nodeid, 0x7ff)),
    () => bench.readDirectory(1, 4096, true),
  ]
  for (const [index, tell] of tellings.entries()) {
    rewrite('x'.repeat(index + 10))
    tell()
    expect([index, open(nodeid)]).toEqual([index, 0])
  }
})

test('the same size, and times that were set back, need no asking', () => {
  const { nodeid } = bench.lookup('file')
  const { atime, mtime } = fs.statSync(bench.at('file'))
  rewrite('xyz\n')
  fs.utimesSync(bench.at('file'), atime, mtime)
  fs.chmodSync(bench.at('file'), 0o600)
  expect(bench.attributes(requests.getattr(nodeid)).size).toBe(4)
  fs.chmodSync(bench.at('file'), 0o644)
  expect(open(nodeid)).toBe(0)
})

test('after what the guest has done itself, it asks by itself', () => {
  const { nodeid } = bench.lookup('file')
  const fh = bench.open(nodeid, O_RDWR)
  const changes = [
    () => bench.body(requests.write(nodeid, fh, 0, Buffer.from('longer text'))),
    () => bench.body(requests.fallocate(nodeid, fh, 0, 0, 100)),
    () =>
      bench.body(requests.copyFileRange(nodeid, { fh_in: fh, nodeid_out: nodeid, fh_out: fh, off_out: 200, len: 10 })),
    () => bench.open(nodeid, O_RDWR | O_TRUNC),
  ]
  for (const [index, change] of changes.entries()) {
    change()
    expect([index, open(nodeid)]).toEqual([index, 0])
    // Up to what it is told next.
    bench.lookup('file')
    rewrite('x'.repeat(index + 20))
    expect([index, open(nodeid, 7), open(nodeid, 7)]).toEqual([index, Errno.ESTALE, 0])
    bench.lookup('file')
  }
  // A page of its cache changes no size, so it does not ask then.
  bench.body(requests.write(nodeid, fh, 0, Buffer.from('page'), 0, 1))
  expect(open(nodeid)).toBe(Errno.ESTALE)
})

/** The error of an open after the host's change. */
function changed(pid = 1): number {
  const { nodeid } = bench.lookup('file')
  rewrite('longer')
  return open(nodeid, pid)
}

test('guests and options for which it means nothing', () => {
  expect(changed(0)).toBe(0)
  restart({}, FLAGS & ~FuseInitFlag.AUTO_INVAL_DATA)
  expect(changed()).toBe(0)
  restart({ writeback: true })
  expect(changed()).toBe(0)
  for (const cache of ['never', 'metadata', 'always'] as const) {
    restart({ cache })
    expect([cache, changed()]).toEqual([cache, 0])
  }
})

test('no more than 256 are asked at a time', () => {
  const { nodeid } = bench.lookup('file')
  rewrite('longer')
  for (let pid = 1; pid <= 256; pid++) expect(open(nodeid, pid)).toBe(Errno.ESTALE)
  expect(open(nodeid, 257)).toBe(0)
  expect([open(nodeid, 1), open(nodeid, 257)]).toEqual([0, Errno.ESTALE])
})
