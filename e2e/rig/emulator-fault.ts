// SPDX-License-Identifier: Apache-2.0
/**
 * Faults of the outer emulator (TCG with AMD-V, QEMU 10.0.13), now and then, when a machine is busy. Mostly the state of a guest
 * and that of its host get mixed up around a #VMEXIT. Seen so far:
 *
 * - the guest has the host's registers (in KVM's trace RIP is the instruction after VMRUN in the host's kvm_amd, and the page walk
 *   starts from the host's CR3): it faults on that instruction for ever,
 * - the guest resets in the middle of its work (a triple fault), with not a word on its console,
 * - the host takes an interrupt at the instruction after VMRUN, where GIF is 0 and none can come, with the guest's GS, and panics.
 *   The frame has RF set, which only exceptions do: the emulator has delivered an injected vector a second time,
 * - the host, with two CPUs, executes an int3 that its code patching (a static branch) has taken away again: the other CPU's
 *   translation of that code is out of date,
 * - an exit of the guest for a store to a device says that an interrupt was being delivered, which KVM takes for an internal error,
 * - the host itself resets without a word,
 * - the host stands still without a word (also on a quiet machine); standstill.ts mends that, mostly.
 *
 * What is tested is not at fault, so the rig repeats it.
 */

export class EmulatorFault extends Error {
  override readonly name = 'EmulatorFault'
}

/** Exit status of a session that such a fault ended. */
export const EMULATOR_FAULT_STATUS = 98

/** The main function of a session: an emulator's fault is told by the exit status. */
export async function emulatorFaultAsStatus(main: () => Promise<number>): Promise<number> {
  try {
    return await main()
  } catch (error) {
    if (!(error instanceof EmulatorFault)) throw error
    process.stderr.write(`${error.message}\n`)
    return EMULATOR_FAULT_STATUS
  }
}

/** Whether QEMU's log has KVM_INTERNAL_ERROR_DELIVERY_EV (include/uapi/linux/kvm.h). */
export function unfinishedDelivery(log: string): boolean {
  return /^KVM internal error\. Suberror: 3\r?$/m.test(log)
}

/** Whether a host's kernel log has a stack with an interrupt at the instruction after VMRUN. */
export function interruptAfterVmrun(log: string): boolean {
  return /\basm_(?:sysvec|common)_\w+\+[^\n]*\n[^\n]*\bRIP: 0010:__svm_vcpu_run\+/.test(log)
}

/** Whether a host's kernel log has a breakpoint where the code has none: the byte before RIP is not int3 (0xcc). */
export function breakpointOfOldCode(log: string): boolean {
  return /\bOops: int3: [^]*?\bCode: [0-9a-f ]*\b(?!cc)[0-9a-f]{2} <[0-9a-f]{2}>/.test(log)
}
