// SPDX-License-Identifier: Apache-2.0
/** A guest that libvirt puts to sleep and wakes up again, while it works in its shares. */
import { endLoad, loadGoesOn, startLoad } from '../guest/moving-load.ts'
import { say, step } from '../rig/progress.ts'
import { NestedDomain } from './nested-domain.ts'
import { expectMatch, run, sh, until } from './nested-shell.ts'

/** doc/managers.md says why. */
const CONFIGURE = `echo 'save_image_format = "gzip"' >>/etc/libvirt/qemu.conf; systemctl restart libvirtd`

export async function sleepingGuest(): Promise<void> {
  sh(CONFIGURE)
  const guest = new NestedDomain({ name: 'sleeper', locks: false })
  const { name } = guest
  await run('starting a guest that can be saved', `virsh define ${guest.xml}; virsh start ${name}`)
  try {
    await guest.booted()
    await guest.must('mount -t virtiofs data /mnt')
    await startLoad(guest)
    for (const time of ['first', 'second']) {
      await run(`managedsave, the ${time} time`, `virsh managedsave ${name}`)
      expectMatch(
        'saved',
        sh(`virsh domstate ${name}; virsh list --all --with-managed-save --name`),
        new RegExp(`^shut off\\s+${name}$`),
      )
      await until(() => sh(`pgrep -f '[s]ource=${guest.data}' || true`) === '')
      await run('start', `virsh start ${name}`)
      await guest.connect()
      await step('the guest goes on', () => loadGoesOn(guest))
    }
    say(`the load has done ${await endLoad(guest)} rounds`)
    await guest.end()
    sh(`virsh undefine ${name}`)
  } catch (error) {
    process.stdout.write(sh(`tail -n 40 /var/log/libvirt/qemu/${name}*.log`))
    throw error
  } finally {
    guest.close()
  }
}
