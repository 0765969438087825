// SPDX-License-Identifier: Apache-2.0
/**
 * The nested end-to-end run: everything that needs a guest, inside one nested host. Started by e2e.ts with
 * VIEWFSD_GUEST_KERNEL; prints one line a test and exits with 1 when one failed.
 */
import { mkdirSync } from 'node:fs'
import { guestKernel, loadModules, mountDisk } from '../guest/host.ts'
import { daxSuite } from './dax.ts'
import { lifecycleSuite, noWindowSuite } from './lifecycle.ts'
import { directSuite } from './direct.ts'
import { rootSuites } from './rootfs.ts'
import { semanticsSuites } from './semantics.ts'
import { finish } from './harness.ts'

/** What every suite gets. */
export interface Rig {
  /** A folder on ext4, on the host's disk. */
  readonly data: string
  /** Sockets, logs. */
  readonly run: string
  readonly guestKernel: string
}

loadModules()
const run = '/out/e2e'
mkdirSync(run, { recursive: true })
const rig: Rig = {
  data: mountDisk('ext4'),
  run,
  guestKernel: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
}
await daxSuite(rig)
await lifecycleSuite(rig)
await noWindowSuite(rig)
await semanticsSuites(rig)
await directSuite(rig)
await rootSuites(rig)
process.exit(finish())
