// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { interruptAfterVmrun, unfinishedDelivery } from './emulator-fault.ts'

const stack = (rip: string) => `[  389.072225]  sysvec_apic_timer_interrupt+0xe/0x90\r
[  389.072238]  asm_sysvec_apic_timer_interrupt+0x1a/0x20\r
[  389.072254] RIP: 0010:${rip}\r
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
