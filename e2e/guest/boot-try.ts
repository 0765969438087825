// SPDX-License-Identifier: Apache-2.0
/** Boots one guest on Rust virtiofsd and says how long it took: the smallest check of the nested rig itself. */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { startVirtiofsd } from './daemon.ts'
import { Guest } from './guest.ts'
import { makeGuestRoot } from './guest-root.ts'

execFileSync('modprobe', ['kvm-amd'])
for (const version of readdirSync('/lib/modules')) {
  const dir = `/run/try-${version}`
  const root = makeGuestRoot(dir)
  const since = Date.now()
  const daemon = await startVirtiofsd(dir, 'root', root, ['--cache=always'])
  const guest = await Guest.boot({
    dir,
    kernelImage: `/lib/modules/${version}/vmlinux`,
    devices: [{ socketPath: daemon.socketPath, kind: 'fs', tag: 'guestroot' }],
  })
  console.log(
    `${version}: booted in ${(Date.now() - since) / 1000} s: ${await guest.must('uname -r; cat /proc/uptime')}`,
  )
  await guest.shutdown()
  await daemon.end()
}
