// SPDX-License-Identifier: Apache-2.0
/** --on-crash=restart under a real QEMU: the server is killed again and again under fio with verify through the window and changing names. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const KILLS = Number(process.env['VIEWFSD_KILLS'] ?? 3)
const HANG_MS = 600_000

/** Each step must succeed, or the storm says which did not. */
const STORM = `cat >/run/storm <<'END'
set -e
mkdir -p /mnt/storm; cd /mnt/storm
n=0
while ! test -e /run/stop; do
  d=dir$((n % 7))
  mkdir $d
  echo one >$d/file; echo two >>$d/file
  test "$(cat $d/file)" = "one
two"
  ln $d/file $d/link; mv $d/link $d/moved
  exec 9<$d/moved; rm $d/moved $d/file
  test "$(cat <&9)" = "one
two"
  exec 9<&-
  rmdir $d
  n=$((n + 1))
  echo $n >/run/storm.rounds
done
END
sh -x /run/storm >/run/storm.log 2>&1; echo $? >/run/storm.status`

const VERIFY = `while ! test -e /run/stop; do
  fio --name=verify --filename=/mnt/verified --rw=randwrite --bs=16k --size=24M --ioengine=psync --verify=crc32c --verify_fatal=1 --do_verify=1 || exit
done >/run/fio.log 2>&1; echo $? >/run/fio.status`

export async function restartSuite(rig: Rig): Promise<void> {
  if (!selected('restart: ')) return
  const dir = join(rig.data, 'restart')
  mkdirSync(dir, { recursive: true })
  const vm = await TestGuest.boot(rig, {
    sharedDir: dir,
    daemonArgs: ['--window=memory-view', '--window-size=64M', '--on-crash=restart'],
  })
  const { daemon, guest } = vm
  const restarts = (): number => daemon.log().split('"server-restarted"').length - 1

  await test(`restart: ${KILLS} times kill -9 under fio with verify in the window, and changing names`, async () => {
    await vm.mount()
    await guest.must(`(${STORM}\n) </dev/null >/dev/null 2>&1 &`)
    await guest.must(`(${VERIFY}\n) </dev/null >/dev/null 2>&1 &`)
    for (let kill = 1; kill <= KILLS; kill++) {
      await sleep(500 + Math.random() * 3000)
      process.kill(daemon.server(), 'SIGKILL')
      for (const deadline = Date.now() + HANG_MS; restarts() < kill; await sleep(50)) {
        check(daemon.running(), `the daemon has ended: ${daemon.log().slice(-2000)}`)
        check(Date.now() < deadline, 'no server after a kill')
      }
    }
    const deadline = Date.now() + HANG_MS
    const rounds = async (): Promise<number> => Number(await guest.must('cat /run/storm.rounds 2>/dev/null || echo 0'))
    // With all servers' work behind it.
    for (const before = await rounds(); (await rounds()) < before + 2; await sleep(500))
      check(Date.now() < deadline, 'the storm does nothing any more')
    await guest.must(
      'touch /run/stop; while ! test -e /run/fio.status || ! test -e /run/storm.status; do sleep 1; done',
    )
    const log = await guest.must('tail -n 5 /run/storm.log /run/fio.log')
    equal(await guest.must('cat /run/storm.status /run/fio.status'), '0\n0', `storm and fio\n${log}`)
    equal(restarts(), KILLS, 'servers')
  })

  await test('restart: the guest unmounts and ends as ever', async () => {
    await guest.must('umount /mnt')
    await guest.shutdown()
    equal(guest.complaints().join('\n'), '', 'guest kernel log')
    equal(await daemon.exited, 'exit status 0', 'the daemon')
  })
  await vm.destroy()
}
