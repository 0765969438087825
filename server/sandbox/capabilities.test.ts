// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { keptCapabilities } from './capabilities.ts'
import type { SandboxOptions } from './options.ts'

const base: SandboxOptions = {
  onCrash: 'exit',
  sandbox: 'namespace',
  seccomp: 'kill',
  modcaps: [],
  readonly: false,
  inodeFileHandles: 'never',
  uidMap: [],
  gidMap: [],
}

test("keeps virtiofsd's set", () => {
  expect(keptCapabilities(base)).toBe(0x880000dbn)
})

test('keeps CAP_DAC_READ_SEARCH for file handles', () => {
  expect(keptCapabilities({ ...base, inodeFileHandles: 'prefer' })).toBe(0x880000dfn)
})

test('adds and takes away in the order given', () => {
  const modcaps = [
    { keep: true, capability: 'sys_admin' },
    { keep: false, capability: 'chown' },
    { keep: true, capability: 'mknod' },
    { keep: false, capability: 'mknod' },
  ]
  expect(keptCapabilities({ ...base, modcaps })).toBe(0x802000dan)
})
