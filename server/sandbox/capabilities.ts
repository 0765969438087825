// SPDX-License-Identifier: Apache-2.0
/** Which capabilities the daemon keeps, as a mask: bit n for capability n of linux/capability.h. */
import { CAPABILITIES } from '../options/capabilities.ts'
import type { SandboxOptions } from './options.ts'

/** What each is for: owners, files of whomever, times and modes, setgid bits, callers' ids, devices, xattrs. */
const KEPT: readonly string[] = ['chown', 'dac_override', 'fowner', 'fsetid', 'setgid', 'setuid', 'mknod', 'setfcap']

function bit(name: string): bigint {
  const number = CAPABILITIES.findIndex((known) => known === name)
  return number < 0 ? 0n : 1n << BigInt(number)
}

/** What the daemon keeps by these options. */
export function keptCapabilities({ modcaps, inodeFileHandles }: SandboxOptions): bigint {
  let mask = 0n
  for (const name of inodeFileHandles === 'never' ? KEPT : [...KEPT, 'dac_read_search']) mask |= bit(name)
  for (const { keep, capability } of modcaps) mask = keep ? mask | bit(capability) : mask & ~bit(capability)
  return mask
}
