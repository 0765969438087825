// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { reportText, windowPossible } from './check.ts'
import type { HostFacts } from './host-facts.ts'
import { judge } from './judge.ts'

const GOOD: HostFacts = {
  kernel: '6.12.48+deb13-amd64',
  root: true,
  driverAbi: 3,
  programAbi: 3,
  qemu: 'QEMU emulator version 11.1.3 (Debian)',
  kvm: undefined,
  hugePages: { enabled: 'madvise', shmem: 'advise' },
  openFiles: 1_048_576,
  namespaces: undefined,
}

test('a host that has everything', () => {
  const findings = judge(GOOD)
  expect(findings.map(({ name, verdict }) => [name, verdict])).toEqual(
    ['kernel', 'module', 'ABI', 'QEMU', 'KVM', 'huge pages', 'limits', 'namespaces'].map((name) => [name, 'yes']),
  )
  expect(reportText(findings)).toMatch(/can do a window\.\n$/)
})

test.each<[what: Partial<HostFacts>, name: string, verdict: 'no' | 'less', fix: RegExp]>([
  [{ kernel: '6.1.0-40-amd64' }, 'kernel', 'no', /6\.12/],
  [{ driverAbi: 'ENOENT' }, 'module', 'no', /modprobe memory_view/],
  [{ driverAbi: 'EACCES' }, 'module', 'no', /access to \/dev\/memory-view/],
  [{ driverAbi: 1 }, 'ABI', 'no', /rmmod/],
  [{ qemu: undefined }, 'QEMU', 'no', /11\.1/],
  [{ qemu: 'QEMU emulator version 9.2.1' }, 'QEMU', 'no', /11\.1/],
  [{ qemu: 'QEMU emulator version 11.0.2' }, 'QEMU', 'no', /11\.1/],
  [{ kvm: 'ENOENT' }, 'KVM', 'no', /kvm_intel/],
  [{ kvm: 'EACCES' }, 'KVM', 'no', /group/],
  [{ hugePages: undefined }, 'huge pages', 'less', /CONFIG_TRANSPARENT_HUGEPAGE/],
  [{ hugePages: { enabled: 'always', shmem: 'never' } }, 'huge pages', 'less', /shmem_enabled/],
  [{ openFiles: 4096 }, 'limits', 'less', /LimitNOFILE/],
  [{ openFiles: 512 }, 'limits', 'no', /LimitNOFILE/],
  [{ namespaces: 'unshare failed' }, 'namespaces', 'no', /--sandbox=chroot/],
  [{ namespaces: 'unshare failed', root: false }, 'user namespaces', 'no', /--sandbox=none/],
])('%j is found, with a fix', (what, name, verdict, fix) => {
  const findings = judge({ ...GOOD, ...what })
  const finding = findings.find((each) => each.name === name)
  expect(finding?.verdict).toBe(verdict)
  expect(finding?.fix).toMatch(fix)
  expect(windowPossible(findings)).toBe(verdict === 'less')
  expect(reportText(findings)).toContain(`-> ${finding?.fix ?? '?'}\n`)
})

test('newer versions are as good', () => {
  expect(windowPossible(judge({ ...GOOD, kernel: '7.3.1', driverAbi: 4, qemu: 'QEMU emulator version 12.0.0' }))).toBe(
    true,
  )
})
