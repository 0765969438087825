// SPDX-License-Identifier: Apache-2.0
/** A guest of vhost-user-fs-pci moves while it works, and sleeps; what it has open goes on. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { moveGuest, restoreGuest, snapshotGuest } from '../guest/migration.ts'
import { endLoad, loadGoesOn, startLoad } from '../guest/moving-load.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const HANDLES = '--migration-mode=file-handles'

/** By hand: to send the memory of a guest takes minutes where the host is emulated and has little CPU. */
export async function movingSuite(rig: Rig): Promise<void> {
  if (!selected('move: ')) return
  const sharedDir = join(rig.data, 'moving')
  mkdirSync(sharedDir, { recursive: true })
  const daemonArgs = ['--window=none', HANDLES]
  const vm = await TestGuest.boot(rig, { sharedDir, kind: 'fs', daemonArgs: ['--window=none'], memoryMiB: 512 })
  await vm.mount('rw')

  await test('move: a guest moves while it works, by path', async () => {
    await startLoad(vm.guest)
    const sender = vm.daemon
    await vm.move(daemonArgs, { move: moveGuest })
    check(sender.log().includes('the state of the device is saved'), `the sender says nothing: ${sender.log()}`)
    check(vm.daemon.log().includes('the state of the device is loaded'), `nor the receiver: ${vm.daemon.log()}`)
    await loadGoesOn(vm.guest)
  })

  await test('move: and back, by file handle', async () => {
    await vm.move(daemonArgs, { move: moveGuest })
    await loadGoesOn(vm.guest)
  })

  await test('move: a guest sleeps in a file, and wakes up at a fresh daemon', async () => {
    const file = join(rig.run, 'snapshot')
    await vm.move(daemonArgs, {
      before: (old) => snapshotGuest(old, file),
      move: (_, to) => restoreGuest(to, file),
    })
    rmSync(file)
    await loadGoesOn(vm.guest)
  })

  await test('move: all that the guest has done meanwhile is there', async () => {
    await endLoad(vm.guest)
  })

  await test('move: the guest and the last daemon end', async () => {
    await vm.guest.shutdown()
    equal(await vm.daemon.exited, 'exit status 0', 'the end of the daemon')
    equal(vm.guest.complaints().join('\n'), '', 'guest kernel log')
  })
  await vm.destroy()
}
