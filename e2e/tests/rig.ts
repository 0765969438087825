// SPDX-License-Identifier: Apache-2.0
/** The rig itself: what e2e/rig/machine.ts and e2e/guest/host-init.sh promise of a nested host. */
import { readFileSync } from 'node:fs'
import { sh } from '../guest/host.ts'
import { equal, test } from './harness.ts'
import type { Rig } from './session.ts'

export async function rigSuite(rig: Rig): Promise<void> {
  await test('rig: no code comes from the shared folders, whose pages the emulator does not see being written', () => {
    // proc(5): device, mount point, type, options
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
    const executable = mounts.filter(([, , , options]) => !options?.split(',').includes('noexec'))
    const shared = executable.filter(([, place, type]) => type === 'virtiofs' || place === '/repo')
    equal(shared.map(([, place]) => place).join(' '), '', 'shared folders that are not mounted noexec')
    equal(mounts.find(([, place]) => place === '/.hostroot')?.[2], 'ext4', 'the file system of the root')
  })
  await test('rig: what is executed from a disk is what the disk has, however often the page cache is dropped', () => {
    sh(`cp /out/code-check /run; /run/code-check ${rig.data}`)
  })
}
