// SPDX-License-Identifier: Apache-2.0
/** What SETUPMAPPING and REMOVEMAPPING refuse. */
import fs from 'node:fs'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { FuseInitFlag } from '../../server/fuse/abi.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, MAPPED, PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const RANGE = 2 << 20
/** Of the bench. */
const WINDOW = 64 << 20
const READ = 2
const BOTH = 3

let bench: PassthroughBench
let nodeid: number
function start(options: Partial<PassthroughOptions> = {}): void {
  const own = new PassthroughBench(options)
  onTestFinished(() => own[Symbol.dispose]())
  fs.writeFileSync(own.at('file'), 'contents')
  nodeid = own.lookup('file').nodeid
  bench = own
}
beforeEach(() => start())

const map = (flags: number | bigint, node = nodeid): number =>
  bench.errno(requests.setupmapping(node, 0, RANGE, 0, flags))

test.each<[string, number | bigint, number | bigint, number | bigint, number | bigint]>([
  ['an empty range', 0, 0, 0, READ],
  ['a length that is no page', 0, 4097, 0, READ],
  ['a moffset that is no page', 0, 4096, 512, READ],
  ['a foffset that is no page', 1, 4096, 0, READ],
  ['a range beyond the window', 0, RANGE, WINDOW, READ],
  ['a range across the window’s end', 0, 2 * RANGE, WINDOW - RANGE, READ],
  ['a range longer than the window', 0, WINDOW + 4096, 0, READ],
  ['a moffset that wraps', 0, RANGE, (1n << 64n) - BigInt(RANGE), READ],
  ['a length that wraps', 0, (1n << 64n) - 4096n, 8192, READ],
  ['a foffset that wraps', (1n << 64n) - 4096n, RANGE, 0, READ],
  ['a file range that no file has', (1n << 63n) - BigInt(RANGE), RANGE, 0, READ],
  ['no flags', 0, RANGE, 0, 0],
  ['unknown flags', 0, RANGE, 0, 6],
  ['unknown high flags', 0, RANGE, 0, (1n << 63n) | 2n],
])('%s is refused', (_, foffset, length, moffset, flags) => {
  expect(bench.errno(requests.setupmapping(nodeid, foffset, length, moffset, flags))).toBe(Errno.EINVAL)
})

test('what is not, reaches the view, and nothing stays open', () => {
  const descriptors = fs.readdirSync('/proc/self/fd').length
  expect([map(READ), map(BOTH), map(1)]).toEqual([MAPPED, MAPPED, MAPPED])
  const last = requests.setupmapping(nodeid, (1n << 63n) - 2n * BigInt(RANGE), RANGE, WINDOW - RANGE, READ)
  expect(bench.errno(last)).toBe(MAPPED)
  expect(fs.readdirSync('/proc/self/fd').length).toBe(descriptors)
})

test('what is no file that the guest knows', () => {
  expect([map(READ, ROOT), map(READ, nodeid + 1)]).toEqual([Errno.EISDIR, Errno.ESTALE])
})

test('a writable range of a read-only export is refused, a readable one not', () => {
  start({ readOnly: true })
  expect([map(BOTH), map(READ)]).toEqual([Errno.EROFS, MAPPED])
})

test('a batch is checked whole before anything is unmapped', () => {
  const good: [number, number][] = Array.from({ length: 256 }, (_, index) => [index * 4096, 4096])
  const remove = (...ranges: [number, number][]): number => bench.errno(requests.removemapping(ranges))
  expect(remove(...good)).toBe(MAPPED)
  expect(remove(...good, [0, 4096])).toBe(Errno.EINVAL)
  expect(remove(...good.slice(1), [WINDOW, 4096])).toBe(Errno.EINVAL)
  expect(remove(...good.slice(1), [0, 0])).toBe(Errno.EINVAL)
  expect(remove()).toBe(Errno.EINVAL)
  const lying = requests.removemapping([[0, 4096]])
  new DataView(lying.buffer).setUint32(40, 2, true)
  expect(bench.errno(lying)).toBe(Errno.EINVAL)
})

test('a guest without the window has no mappings', () => {
  bench.body(requests.init({ flags: LINUX_INIT_FLAGS & ~FuseInitFlag.MAP_ALIGNMENT }))
  nodeid = bench.lookup('file').nodeid
  expect(map(READ)).toBe(Errno.ENODEV)
})

test('a device without a window has none of these requests', () => {
  bench.window.size = 0
  bench.body(requests.init({ flags: LINUX_INIT_FLAGS }))
  nodeid = bench.lookup('file').nodeid
  expect([map(READ), bench.errno(requests.removemapping([[0, 4096]]))]).toEqual([Errno.ENOSYS, Errno.ENOSYS])
})
