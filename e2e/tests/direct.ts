// SPDX-License-Identifier: Apache-2.0
/** The quickstart on a machine that needs no emulator: the nested host itself has a KVM and the driver. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EMULATOR_FAULT_STATUS, EmulatorFault } from '../rig/emulator-fault.ts'
import { writePatternFiles } from '../guest/files.ts'
import { sh } from '../guest/host.ts'
import type { QuickstartSummary } from '../guest/quickstart-session.ts'
import { runDirectly, whyNested } from '../rig/direct.ts'
import type { HostRoot, RootManifest } from '../rig/host-root.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'

const MIB = 1 << 20
const SIZES = [0, 4097, 2 * MIB, 5 * MIB + 123]

export async function directSuite(rig: Rig): Promise<void> {
  if (!selected('direct: ')) return
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by host-root.ts
  const manifest = JSON.parse(readFileSync('/etc/viewfsd-rig.json', 'utf8')) as RootManifest
  const root: HostRoot = { path: '/.hostroot', image: '/dev/nvme0n1', manifest }

  await test('direct: a /dev/kvm that does not work is found out, and so is a missing one', async () => {
    sh('mv /dev/kvm /dev/kvm.away; mknod /dev/kvm c 1 3')
    check((await whyNested(root, '7.3'))?.startsWith('/dev/kvm does not boot a guest') ?? false, 'it passed for a KVM')
    sh('rm /dev/kvm')
    equal(await whyNested(root, '7.3'), 'this machine has no /dev/kvm', 'the reason')
    sh('mv /dev/kvm.away /dev/kvm')
  })
  await test('direct: the quickstart finds KVM and driver, and runs on them', async () => {
    equal(await whyNested(root, '7.3', 300), undefined, 'the reason for an emulator')
    const share = join(rig.data, 'direct')
    writePatternFiles(share, SIZES)
    const dir = '/run/direct'
    mkdirSync(join(dir, 'out'), { recursive: true })
    const status = await runDirectly(root, {
      script: 'exec node dist/e2e/guest/quickstart-session.js',
      dir,
      share: { path: share, writable: true },
      env: { VIEWFSD_GUEST_KERNEL: '7.3', VIEWFSD_SHELL: '0' },
      interactive: false,
    })
    if (status === EMULATOR_FAULT_STATUS)
      throw new EmulatorFault('the quickstart lost its guest to a fault of the emulator')
    equal(status, 0, 'exit status')
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by quickstart-session.ts of this same build
    const summary = JSON.parse(readFileSync(join(dir, 'out/summary.json'), 'utf8')) as QuickstartSummary
    equal(summary.files, SIZES.length, 'files')
    check(summary.mappingsMade > 0, 'nothing was mapped')
    equal(summary.messagesAfterwards, 0, 'messages to QEMU after the start')
    equal(summary.fuseReads, 0, 'FUSE READs')
    equal(summary.fio.length, 4, 'fio jobs')
  })
}
