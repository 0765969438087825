// SPDX-License-Identifier: Apache-2.0
/** The USDT probes of a 64-bit little-endian ELF file, as tracers find them. */
import { readFileSync } from 'node:fs'

const PT_LOAD = 1
const NT_STAPSDT = 3

export interface Probe {
  readonly name: string
  /** Such as '8@%rax 8@%rdx'. */
  readonly arguments: string
  /** Of the nop and of the semaphore, in the file; bytes. */
  readonly location: number
  readonly semaphore: number
  /** What stands at the location. */
  readonly instruction: number
}

export function probesOf(path: string): Probe[] {
  const bytes = readFileSync(path)
  const offsetOf = loader(bytes)
  const probes: Probe[] = []
  const notes = section(bytes, '.note.stapsdt')
  for (let at = 0; at < notes.length; ) {
    const nameSize = notes.readUInt32LE(at)
    const size = notes.readUInt32LE(at + 4)
    if (notes.readUInt32LE(at + 8) !== NT_STAPSDT) throw new Error('another kind of note')
    const body = at + 12 + ((nameSize + 3) & ~3)
    const [provider, name = '', text = ''] = notes.toString('latin1', body + 24, body + size).split('\0')
    if (provider !== 'viewfsd') throw new Error(`a probe of ${provider}`)
    const location = offsetOf(Number(notes.readBigUInt64LE(body)))
    const semaphore = offsetOf(Number(notes.readBigUInt64LE(body + 16)))
    probes.push({ name, arguments: text, location, semaphore, instruction: bytes.readUInt8(location) })
    at = body + ((size + 3) & ~3)
  }
  return probes
}

/** From an address to its place in the file. */
function loader(bytes: Buffer): (address: number) => number {
  const first = Number(bytes.readBigUInt64LE(0x20))
  const segments = Array.from({ length: bytes.readUInt16LE(0x38) }, (_, index) => {
    const at = first + index * bytes.readUInt16LE(0x36)
    const word = (offset: number): number => Number(bytes.readBigUInt64LE(at + offset))
    return { type: bytes.readUInt32LE(at), offset: word(8), address: word(16), size: word(32) }
  })
  return (address) => {
    const found = segments.find(
      (one) => one.type === PT_LOAD && address >= one.address && address < one.address + one.size,
    )
    if (found === undefined) throw new Error(`nothing is loaded at 0x${address.toString(16)}`)
    return address - found.address + found.offset
  }
}

function section(bytes: Buffer, wanted: string): Buffer {
  const table = Number(bytes.readBigUInt64LE(0x28))
  const header = (index: number): Buffer => bytes.subarray(table + index * 64, table + (index + 1) * 64)
  const contents = (of: Buffer): Buffer => {
    const offset = Number(of.readBigUInt64LE(0x18))
    return bytes.subarray(offset, offset + Number(of.readBigUInt64LE(0x20)))
  }
  const names = contents(header(bytes.readUInt16LE(0x3e)))
  for (let index = 0; index < bytes.readUInt16LE(0x3c); index++) {
    const start = header(index).readUInt32LE(0)
    if (names.toString('latin1', start, names.indexOf(0, start)) === wanted) return contents(header(index))
  }
  throw new Error(`no section ${wanted}`)
}
