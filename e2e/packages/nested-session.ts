// SPDX-License-Identifier: Apache-2.0
/**
 * Runs in the nested host that nested-host.ts boots, with the packages installed: loads the module, starts guests through libvirt, and
 * purges the packages without a trace.
 */
import { readdirSync } from 'node:fs'
import { runMain } from '../rig/progress.ts'
import { expectMatch, run, sh } from './nested-shell.ts'
import { sleepingGuest } from './nested-sleep.ts'
import { windowGuest } from './nested-window.ts'

/** What is left of the packages, outside of what systems write for themselves. */
const LEFT = `find / -xdev \\( ${['/dev', '/etc/apt', '/etc/dpkg', '/out', '/proc', '/repo', '/run', '/share', '/sys', '/tmp', '/var/log'].map((path) => `-path ${path}`).join(' -o ')} \\) -prune -o -print | grep -i 'viewfsd\\|memory.view' || true`

async function main(): Promise<number> {
  const versions = sh(
    'systemctl --version | head -n 1; libvirtd --version; qemu-system-x86_64 --version | head -n 1; uname -r',
  )
  process.stdout.write(`${versions}\n`)
  const status = sh('dkms status')
  process.stdout.write(`${status}\n`)
  for (const kernel of readdirSync('/usr/lib/modules'))
    expectMatch('DKMS', status, new RegExp(`memory-view/[^ ]+, ${kernel.replaceAll('+', '\\+')}, .*: installed`))
  await run('loading it', 'modprobe memory_view && udevadm settle')
  expectMatch('its device', sh('stat -c "%U %G %a" /dev/memory-view'), /^root memory-view 660$/)
  sh('apparmor_parser -r /etc/apparmor.d/viewfsd')
  expectMatch('viewfsd check', sh('viewfsd check || true'), /can do a window/)
  await windowGuest()
  await sleepingGuest()
  await run(
    'purging',
    `systemctl stop 'viewfsd@*.socket'; modprobe -r memory_view
     rm -r /etc/viewfsd/window.conf /etc/systemd/system/viewfsd@.socket.d
     dpkg -P viewfsd memory-view-dkms >>/out/dpkg.log 2>&1`,
  )
  expectMatch('left behind', sh(LEFT), /^$/)
  return 0
}

runMain(main)
