// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { breakpointOfOldCode, interruptAfterVmrun, unfinishedDelivery } from './emulator-fault.ts'

const stack = (rip: string) => `[  389.072225]  sysvec_apic_timer_interrupt+0xe/0x90\r
[  389.072238]  asm_sysvec_apic_timer_interrupt+0x1a/0x20\r
[  389.072254] RIP: 0010:${rip}\r
`

const oops = (code: string) => `[  601.657653] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r
[  601.668629] RIP: 0010:finish_task_switch.isra.0+0xa9/0x2f0\r
[  601.672326] Code: 2f 20 0f 85 6f 01 00 00 ${code} 4d 85 f6\r
`

test('an interrupt at the instruction after VMRUN', () => {
  expect(interruptAfterVmrun(stack('__svm_vcpu_run+0xa0/0x220 [kvm_amd]'))).toBe(true)
  expect(interruptAfterVmrun(stack('svm_vcpu_run+0x1fd/0x830 [kvm_amd]'))).toBe(false)
  expect(interruptAfterVmrun('')).toBe(false)
})

test('an exit in the middle of a delivery', () => {
  expect(unfinishedDelivery('KVM internal error. Suberror: 3\nextra data[0]: 0x00000000fc007004\n')).toBe(true)
  expect(unfinishedDelivery('KVM internal error. Suberror: 1\n')).toBe(false)
})

test('a breakpoint that the code no longer has', () => {
  expect(breakpointOfOldCode(oops('66 <90>'))).toBe(true)
  expect(breakpointOfOldCode(oops('cc <90>'))).toBe(false)
  expect(breakpointOfOldCode(oops('66 <90>').replace('int3', 'general protection fault'))).toBe(false)
})
