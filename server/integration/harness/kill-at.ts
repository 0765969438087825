// SPDX-License-Identifier: Apache-2.0
/** Ends a process by SIGKILL at an instruction, before it is executed, or in a page fault: by a BPF program that the kernel runs there. */
import { execFileSync } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

interface Addon {
  readonly addressOf: (bytes: Uint8Array) => number
  readonly rawSyscall: (number: number, ...args: (number | string | Uint8Array)[]) => number
}
const { addressOf, rawSyscall }: Addon = createRequire(import.meta.url)('../../../native/build/test/raw_syscall.node')

const X86 = { bpf: 321, perfEventOpen: 298, ioctl: 16 }
const ARM = { bpf: 280, perfEventOpen: 241, ioctl: 29 }
const NUMBERS = process.arch === 'x64' ? X86 : ARM
const BPF_PROG_LOAD = 5
const BPF_PROG_TYPE_KPROBE = 2
const BPF_PROG_TYPE_PERF_EVENT = 7
const PERF_FLAG_FD_CLOEXEC = 8
const PERF_TYPE_SOFTWARE = 1
const PERF_COUNT_SW_PAGE_FAULTS = 2
const PERF_EVENT_IOC_ENABLE = 0x2400
const PERF_EVENT_IOC_SET_BPF = 0x40042408
/** The kernel's number for such events. */
const UPROBE = Number(readFileSync('/sys/bus/event_source/devices/uprobe/type', 'utf8'))
const SIGKILL = 9
const SEND_SIGNAL = 109

/** r1 = SIGKILL; bpf_send_signal(r1); return 0: operation, registers, offset, immediate value. */
const PROGRAM = [
  [0xb7, 1, SIGKILL],
  [0x85, 0, SEND_SIGNAL],
  [0xb7, 0, 0],
  [0x95, 0, 0],
] as const

function checked(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: errno ${-result}`)
  return result
}

function pointer(bytes: Uint8Array): bigint {
  return BigInt(addressOf(bytes))
}

const programs = new Map<number, number>()
function loadProgram(type: number): number {
  const loaded = programs.get(type)
  if (loaded !== undefined) return loaded
  const instructions = Buffer.alloc(PROGRAM.length * 8)
  PROGRAM.forEach(([operation, register, value], index) => {
    instructions.writeUInt8(operation, index * 8)
    instructions.writeUInt8(register, index * 8 + 1)
    instructions.writeInt32LE(value, index * 8 + 4)
  })
  const license = Buffer.from('GPL\0')
  // union bpf_attr.
  const attributes = Buffer.alloc(72)
  attributes.writeUInt32LE(type, 0)
  attributes.writeUInt32LE(PROGRAM.length, 4)
  attributes.writeBigUInt64LE(pointer(instructions), 8)
  attributes.writeBigUInt64LE(pointer(license), 16)
  const program = checked(rawSyscall(NUMBERS.bpf, BPF_PROG_LOAD, attributes, attributes.length), 'BPF_PROG_LOAD')
  programs.set(type, program)
  return program
}

export class KillAt {
  readonly #event: number

  /** @param attributes struct perf_event_attr */
  private constructor(id: number, attributes: Uint8Array, programType: number) {
    const open = rawSyscall(NUMBERS.perfEventOpen, attributes, id, -1, -1, PERF_FLAG_FD_CLOEXEC)
    this.#event = checked(open, 'perf_event_open')
    const set = rawSyscall(NUMBERS.ioctl, this.#event, PERF_EVENT_IOC_SET_BPF, loadProgram(programType))
    checked(set, 'PERF_EVENT_IOC_SET_BPF')
    checked(rawSyscall(NUMBERS.ioctl, this.#event, PERF_EVENT_IOC_ENABLE, 0), 'PERF_EVENT_IOC_ENABLE')
  }

  /** @param offset in the file, of the start of an instruction */
  static instruction(pid: number, file: string, offset: number): KillAt {
    const path = Buffer.from(`${file}\0`)
    const attributes = eventAttributes(UPROBE)
    attributes.writeBigUInt64LE(pointer(path), 56)
    attributes.writeBigUInt64LE(BigInt(offset), 64)
    return new KillAt(pid, attributes, BPF_PROG_TYPE_KPROBE)
  }

  /** @param count which page fault of this thread's from now on, from 1 */
  static pageFault(thread: number, count: number): KillAt {
    const attributes = eventAttributes(PERF_TYPE_SOFTWARE)
    attributes.writeBigUInt64LE(BigInt(PERF_COUNT_SW_PAGE_FAULTS), 8)
    attributes.writeBigUInt64LE(BigInt(count), 16)
    return new KillAt(thread, attributes, BPF_PROG_TYPE_PERF_EVENT)
  }

  close(): void {
    closeSync(this.#event)
  }
}

function eventAttributes(type: number): Buffer {
  const attributes = Buffer.alloc(112)
  attributes.writeUInt32LE(type, 0)
  attributes.writeUInt32LE(attributes.length, 4)
  return attributes
}

/** Where in the program the lines of a source file begin, as offsets in the file, with the line. */
export function instructionsOf(file: string, source: string): { line: number; offset: number }[] {
  const headers = execFileSync('readelf', ['-lW', file], { encoding: 'utf8' })
  const [, from = '0', address = '0'] = /LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) .* R E /.exec(headers) ?? []
  const moved = parseInt(from, 16) - parseInt(address, 16)
  const lines = execFileSync('objdump', ['--dwarf=decodedline', file], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const found = new Map<number, number>()
  for (const line of lines.split('\n')) {
    const [name, number, at = ''] = line.split(/ +/)
    if (name === source && at.startsWith('0x')) found.set(Number(at) + moved, Number(number))
  }
  return [...found].map(([offset, line]) => ({ line, offset }))
}
