// SPDX-License-Identifier: Apache-2.0
/** A guest of vhost-user-fs-pci moves while it works, and sleeps; what it has open goes on. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { moveGuest, restoreGuest, snapshotGuest } from '../guest/migration.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const HANDLES = '--migration-mode=file-handles'

/**
 * Numbers what it does, in a file that stays open; makes, reads and removes files meanwhile, and lists a directory. Whatever goes wrong is
 * in `complaints`.
 */
const LOAD = `mkdir /mnt/load; cd /mnt/load
exec 5>log 6<>/mnt/w 2>complaints
i=0
while [ ! -e stop ]; do
  i=$((i + 1)); echo $i >&5
  mkdir d$i && echo $i >d$i/f && [ "$(cat d$i/f)" = $i ] && mv d$i/f d$i/g && [ "$(ls d$i)" = g ] || echo "round $i" >&2
  [ $i -le 20 ] || rm -r d$((i - 20)) || echo "removal in round $i" >&2
done
cat <&6 | sha256sum >sum
echo done >finished`

async function rounds(vm: TestGuest): Promise<number> {
  return Number(await vm.guest.must('tail -n 1 /mnt/load/log'))
}

/** Waits until the load has done some more. */
async function works(vm: TestGuest): Promise<void> {
  const before = await rounds(vm)
  await vm.guest.must(`until [ "$(tail -n 1 /mnt/load/log)" -gt ${before + 5} ]; do sleep 0.1; done`)
}

/** By hand: to send the memory of a guest takes minutes where the host is emulated and has little CPU. */
export async function movingSuite(rig: Rig): Promise<void> {
  if (!selected('move: ')) return
  const sharedDir = join(rig.data, 'moving')
  mkdirSync(sharedDir, { recursive: true })
  const daemonArgs = ['--window=none', HANDLES]
  const vm = await TestGuest.boot(rig, { sharedDir, kind: 'fs', daemonArgs: ['--window=none'], memoryMiB: 512 })
  await vm.mount('rw')
  await vm.guest.must('dd if=/dev/urandom of=/mnt/w bs=1M count=3 status=none; sha256sum /mnt/w >/mnt/W')

  await test('move: a guest moves while it works, by path', async () => {
    await vm.guest.must(`cat >/run/load <<'END'\n${LOAD}\nEND\nsetsid sh /run/load </dev/null >/dev/null 2>&1 &`)
    await vm.guest.must('until [ -s /mnt/load/log ]; do sleep 0.1; done')
    await works(vm)
    const sender = vm.daemon
    await vm.move(daemonArgs, { move: moveGuest })
    check(sender.log().includes('the state of the device is saved'), `the sender says nothing: ${sender.log()}`)
    check(vm.daemon.log().includes('the state of the device is loaded'), `nor the receiver: ${vm.daemon.log()}`)
    await works(vm)
  })

  await test('move: and back, by file handle', async () => {
    await vm.move(daemonArgs, { move: moveGuest })
    await works(vm)
  })

  await test('move: a guest sleeps in a file, and wakes up at a fresh daemon', async () => {
    const file = join(rig.run, 'snapshot')
    await vm.move(daemonArgs, {
      before: (old) => snapshotGuest(old, file),
      move: (_, to) => restoreGuest(to, file),
    })
    rmSync(file)
    await works(vm)
  })

  await test('move: all that the guest has done meanwhile is there', async () => {
    await vm.guest.must('touch /mnt/load/stop; until [ -e /mnt/load/finished ]; do sleep 0.1; done')
    equal(await vm.guest.must('cat /mnt/load/complaints'), '', 'complaints')
    const count = await rounds(vm)
    check(count > 20, `only ${count} rounds`)
    await vm.guest.must(`set -e; cd /mnt/load; seq ${count} | cmp - log
      [ "$(cut -d' ' -f1 sum)" = "$(cut -d' ' -f1 ../W)" ]; [ $(ls -d d* | wc -l) = 20 ]; cd /; rm -r /mnt/load`)
  })

  await test('move: the guest and the last daemon end', async () => {
    await vm.guest.shutdown()
    equal(await vm.daemon.exited, 'exit status 0', 'the end of the daemon')
    equal(vm.guest.complaints().join('\n'), '', 'guest kernel log')
  })
  await vm.destroy()
}
