// SPDX-License-Identifier: Apache-2.0
/**
 * Runs in the nested host of dashboard.ts: a guest with a window that reads, writes, fails and looks around, while the daemon's metrics are
 * fetched every few seconds, as Prometheus would, into /out/scrapes.
 */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guestKernel, loadModules, mountDisk } from '../guest/host.ts'
import { writePatternFiles } from '../guest/files.ts'
import { runMain } from '../rig/progress.ts'
import { TestGuest } from '../tests/test-guest.ts'

const ADDRESS = '127.0.0.1:9551'
const EVERY_MS = 5000
const ROUNDS = 5

/** What each round does: the window, requests about names, READ and WRITE past the window, errors, and a page beyond the end of a file. */
const LOAD = `cd /mnt
sha256sum f* >/dev/null
fio --name=r --filename=/mnt/big --readonly --rw=randread --bs=4k --size=48m --runtime=4 --time_based --minimal >/dev/null
for i in $(seq 20); do ls -l /mnt >/dev/null; cat /mnt/none$i 2>/dev/null; done
dd if=/dev/zero of=/mnt/written bs=64k count=64 conv=fsync status=none
echo 3 >/proc/sys/vm/drop_caches
true`

async function main(): Promise<number> {
  loadModules()
  const data = join(mountDisk('ext4'), 'dashboard')
  mkdirSync(data, { recursive: true })
  writePatternFiles(data)
  writeFileSync(join(data, 'big'), Buffer.alloc(48 << 20, 1))
  const rig = { data, run: '/out/dashboard', guestKernel: guestKernel('7.3') }
  mkdirSync('/out/scrapes')
  const vm = await TestGuest.boot(rig, {
    sharedDir: data,
    daemonArgs: ['--window=memory-view', '--window-size=32M', `--metrics=${ADDRESS}`],
  })
  const timer = setInterval(() => {
    void fetch(`http://${ADDRESS}/metrics`).then(async (reply) => {
      writeFileSync(`/out/scrapes/${Date.now()}`, await reply.text())
    })
  }, EVERY_MS)
  await vm.mount('dax=inode')
  await vm.guest.must('dd if=/mnt/big of=/dev/null bs=128k count=64 status=none; umount /mnt')
  await vm.mount()
  for (let round = 0; round < ROUNDS; round++) {
    await vm.guest.must(LOAD)
    // The host takes away what the guest has mapped.
    truncateSync(join(data, 'written'), 1 << 20)
    await vm.guest.must('dd if=/mnt/big of=/dev/null bs=1M status=none')
  }
  await sleep(EVERY_MS)
  clearInterval(timer)
  await vm.guest.shutdown()
  await vm.destroy()
  return 0
}

runMain(main)
