// SPDX-License-Identifier: Apache-2.0
/** The device's life: stop and cont, unbind and rebind, reboot, and a second guest on the same daemon. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checksumList, writePatternFiles } from '../guest/files.ts'
import { recipe } from '../guest/recipes.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const MIB = 1 << 20
const OVERLAY = recipe('doc/recipes.md', 'upper-layer')
const SIZES = [4097, 2 * MIB, 5 * MIB + 123]

export async function lifecycleSuite(rig: Rig): Promise<void> {
  if (!selected('life: ')) return
  const dir = join(rig.data, 'life')
  mkdirSync(dir, { recursive: true })
  writePatternFiles(dir, SIZES)
  writeFileSync(join(dir, 'SUMS'), checksumList(dir).list)
  const vm = await TestGuest.boot(rig, {
    sharedDir: dir,
    daemonArgs: ['--window=memory-view', '--window-size=64M', '--keep-listening'],
  })
  const verify = async (why: string): Promise<void> => {
    const before = (await vm.counters()).get('fuse.mappingsSetUp') ?? 0
    await vm.guest.must('cd /mnt && sha256sum -c --quiet SUMS && cd /')
    const after = (await vm.counters()).get('fuse.mappingsSetUp') ?? 0
    check(after > before, `${why}: the files were read, but not through new mappings`)
  }
  const live = async (): Promise<number> => (await vm.counters()).get('window.live') ?? -1

  await test('life: a mounted guest reads through the window', async () => {
    await vm.mount()
    await verify('first mount')
  })

  await test('life: QMP stop and cont keep the window and its mappings', async () => {
    const before = await live()
    check(before > 0, 'nothing was mapped')
    for (let round = 0; round < 3; round++) {
      await vm.guest.qmp.command('stop')
      await vm.guest.qmp.command('cont')
    }
    await vm.guest.must('cd /mnt && sha256sum -c --quiet SUMS && cd /')
    equal(await live(), before, 'live mappings')
  })

  await test('life: umount and mount again', async () => {
    await vm.guest.must('umount /mnt')
    await vm.mount()
    await verify('second mount')
  })

  await test('life: unbind the driver and bind it again', async () => {
    await vm.guest.must('umount /mnt')
    const tag = 'for t in /sys/fs/virtiofs/*/tag; do grep -q "^data$" $t && echo $t; done'
    const device = await vm.guest.must(
      `t=$(${tag}); d=$(readlink -f $(dirname $t)/device 2>/dev/null); test -n "$d" || d=$(for v in /sys/bus/virtio/drivers/virtiofs/virtio*; do echo $v; done | tail -n 1); basename $d`,
    )
    for (let round = 0; round < 2; round++)
      await vm.guest.must(
        `cd /sys/bus/virtio/drivers/virtiofs; echo ${device} >unbind; echo ${device} >bind; ls -d ${device}`,
      )
    equal(await live(), 0, 'live mappings after the reset')
    await vm.mount()
    await verify('after the rebind')
  })

  await test('life: reboot the guest', async () => {
    await vm.guest.reboot()
    equal(await live(), 0, 'live mappings after the reset')
    await vm.mount()
    await verify('after the reboot')
  })

  await test('life: kill the guest; a second one on the same daemon (--keep-listening)', async () => {
    check((await live()) > 0, 'nothing was mapped before the kill')
    await vm.killGuest()
    check(vm.daemon.running(), 'the daemon ended with its guest')
    await vm.bootAgain()
    equal(await live(), 0, 'live mappings of the first guest')
    await vm.mount()
    await verify('second guest')
  })

  await test('life: SIGTERM ends the daemon with status 0', async () => {
    await vm.guest.shutdown()
    equal(vm.guest.complaints().join('\n'), '', 'guest kernel log')
    check(vm.daemon.running(), 'the daemon ended with its guest in spite of --keep-listening')
    equal(await vm.daemon.end(), 'exit status 0', 'the end of the daemon')
  })
  await vm.destroy()
}

/** The device that has no window in QEMU: everything works, only without DAX. */
export async function noWindowSuite(rig: Rig): Promise<void> {
  if (!selected('fs-pci: ')) return
  const dir = join(rig.data, 'plain')
  mkdirSync(dir, { recursive: true })
  writePatternFiles(dir, SIZES)
  writeFileSync(join(dir, 'SUMS'), checksumList(dir).list)
  const vm = await TestGuest.boot(rig, {
    sharedDir: dir,
    kind: 'fs',
    daemonArgs: ['--window=auto', ...OVERLAY.options],
  })

  await test('fs-pci: files are right without a window, and auto says what it chose', async () => {
    await vm.mount('ro')
    await vm.guest.must('cd /mnt && sha256sum -c --quiet SUMS && cd /; umount /mnt')
    const counters = await vm.counters()
    check((counters.get('fuse.requests.READ') ?? 0) > 0, 'no FUSE READ')
    equal(counters.get('fuse.mappingsSetUp') ?? 0, 0, 'mappings')
    check(/window auto: none for this frontend/.test(vm.daemon.log()), `no log line says so: ${vm.daemon.log()}`)
  })

  await test('fs-pci: dax=always is refused by the guest', async () => {
    check((await vm.guest.run('mount -t virtiofs -o dax=always data /mnt')).status !== 0, 'it mounted')
  })

  await test('fs-pci: writes survive a reboot of the guest', async () => {
    await vm.mount('rw')
    await vm.guest.must('dd if=/dev/urandom of=/mnt/w bs=1M count=3 status=none; sha256sum /mnt/w >/mnt/W; umount /mnt')
    await vm.guest.reboot()
    await vm.mount('rw')
    await vm.guest.must('cd /; sha256sum -c --quiet /mnt/W')
  })

  await test('fs-pci: the upper layer of an overlay is on the share, as doc/recipes.md says', async () => {
    const overlay = OVERLAY.guest.join('\n')
    await vm.guest.must(`set -e; modprobe overlay; rm -rf /mnt/upper /mnt/work
      ${overlay}
      cd /merged; rm -r games; mkdir games; echo own >games/file; mv local moved; chown -h 1000 bin
      cd /; umount /merged
      ${overlay}
      cd /merged
      [ "$(ls games)" = file ] && [ ! -e local ] && [ "$(ls moved)" = "$(ls /usr/local)" ] && [ "$(stat -c %u bin)" = 1000 ]
      cd /; umount /merged; rm -rf /mnt/upper /mnt/work; umount /mnt`)
  })

  await test('fs-pci: the daemon ends with its guest', async () => {
    await vm.guest.shutdown()
    equal(await vm.daemon.exited, 'exit status 0', 'the end of the daemon')
    equal(vm.guest.complaints().join('\n'), '', 'guest kernel log')
  })
  await vm.destroy()
}
