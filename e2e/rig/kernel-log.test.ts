// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { HARMLESS_IN_GUEST, kernelComplaints, logExcerpt } from './kernel-log.ts'

test.each([
  '[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008',
  '[    1.0] WARNING: fs/dax.c:452 at dax_disassociate_entry+0x9c/0xc0, CPU#0: fio/140',
  '[    1.0] WARNING: CPU: 1 PID: 12 at mm/memory.c:1 f+0x1/0x2',
  '[    1.0] BUG: Bad page state in process x  pfn:12345',
  '[    1.0] Oops: general protection fault, probably for non-canonical address',
  '[    1.0] Kernel panic - not syncing: Attempted to kill init!',
  '[    1.0] INFO: task umount:123 blocked for more than 120 seconds.',
  '[    1.0] WARNING: possible circular locking dependency detected',
])('finds %s', (line) => {
  expect(kernelComplaints(`fine\n${line}\r\nfine`)).toEqual([line])
})

test.each([
  '[    0.0] Kernel command line: console=ttyS0 debug',
  '[    1.0] memory_view: loading out-of-tree module taints kernel.',
  '[    0.0] DEBUG_VM is off',
])('leaves %s alone', (line) => {
  expect(kernelComplaints(line)).toEqual([])
})

test('a warning that is known of guests is one of a host all the same', () => {
  const line =
    '[    1.0] WARNING: mm/truncate.c:89 at truncate_folio_batch_exceptionals+0x267/0x2f0, CPU#0: file-model/400'
  expect(kernelComplaints(line)).toEqual([line])
  expect(kernelComplaints(line, HARMLESS_IN_GUEST)).toEqual([])
})

test('shows what is around the first complaint, or the end', () => {
  const quiet = Array.from({ length: 100 }, (_, line) => `[ ${line}] fine`)
  expect(logExcerpt(`${quiet.join('\r\n')}\r\n`, 1, 2)).toEqual(['[ 97] fine', '[ 98] fine', '[ 99] fine'])
  const loud = [...quiet, 'BUG: one', 'BUG: two', ...quiet].join('\n')
  expect(logExcerpt(loud, 1, 2)).toEqual(['[ 99] fine', 'BUG: one', 'BUG: two'])
})
