// SPDX-License-Identifier: Apache-2.0
/**
 * The nested end-to-end run: everything that needs a guest, inside one nested host. Started by e2e.ts with
 * VIEWFSD_GUEST_KERNEL; prints one line a test and exits with 1 when one failed.
 */
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { guestKernel, loadModules, mountDisk } from '../guest/host.ts'
import { daxSuite } from './dax.ts'
import { lifecycleSuite, noWindowSuite } from './lifecycle.ts'
import { movingSuite } from './migration.ts'
import { directSuite } from './direct.ts'
import { documentsSuite } from './documents.ts'
import { rigSuite } from './rig.ts'
import { restartSuite } from './restart.ts'
import { rootSuites } from './rootfs.ts'
import { semanticsSuites } from './semantics.ts'
import { terminalSuite } from './terminal.ts'
import { finish, suite } from './harness.ts'
import { runMain } from '../rig/progress.ts'

/** What every suite gets; harness.ts gives each folders of its own in these. */
export interface Rig {
  /** A folder on ext4, on the host's disk. */
  readonly data: string
  /** Sockets, logs. */
  readonly run: string
  readonly guestKernel: string
}

async function main(): Promise<number> {
  loadModules()
  const rig: Rig = {
    data: mountDisk('ext4'),
    run: '/out/e2e',
    guestKernel: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
  }
  await rigSuite(rig)
  await terminalSuite()
  await suite(rig, 'dax', daxSuite)
  await suite(rig, 'life', lifecycleSuite)
  await suite(rig, 'fs-pci', noWindowSuite)
  await suite(rig, 'move', movingSuite)
  await suite(rig, 'restart', restartSuite)
  await semanticsSuites(rig)
  await suite(rig, 'direct', directSuite)
  await suite(rig, 'documents', documentsSuite)
  await rootSuites(rig)
  return finish()
}

runMain(() => emulatorFaultAsStatus(main))
