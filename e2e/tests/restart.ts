// SPDX-License-Identifier: Apache-2.0
/**
 * --on-crash=restart under a real QEMU: the server is killed again and again under fio with verify through the window, changing names, SQLite, and
 * a program that uses what it has mapped all the time.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout } from '../rig/paths.ts'
import { say } from '../rig/progress.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const KILLS = Number(process.env['VIEWFSD_KILLS'] ?? 3)
/** By hand, with many kills, some more while the guest does nothing but ask: how long it waits then is told. */
const ALONE = Math.trunc(KILLS / 10)
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

/** Each transaction that SQLite says is committed has to be there at the end. */
const SQLITE = `n=0; sqlite3 /mnt/sqlite 'pragma journal_mode=wal; create table t (n integer primary key, b text);' || exit
while ! test -e /run/stop; do
  sqlite3 -bail /mnt/sqlite "insert into t values ($n, hex(randomblob(300)));" || exit
  n=$((n + 1)); echo $n >/run/sqlite.committed
done >/run/sqlite.log 2>&1; echo $? >/run/sqlite.status`

const WATCH = `/root/mapped-watch /mnt/watched /run/stop >/run/watch.log 2>&1; echo $? >/run/watch.status`

const REQUESTS = `touch /mnt/asked; /root/request-watch /mnt/asked /run/stop >/run/requests.log 2>&1; echo $? >/run/requests.status`

const PROGRAMS = { storm: STORM, fio: VERIFY, sqlite: SQLITE, watch: WATCH, requests: REQUESTS }

function medianAndLongest(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  return `${Math.round(sorted[sorted.length >> 1] ?? 0)} ms (${Math.round(sorted.at(-1) ?? 0)} at most)`
}

/** How long a request takes that a kill delays, beside what starting Node alone takes here. */
async function tellPauses({ guest }: TestGuest, kill: () => Promise<void>): Promise<void> {
  const starts: number[] = []
  await guest.must(`rm -f /run/stop /run/requests.*; (${REQUESTS}\n) </dev/null >/dev/null 2>&1 &`)
  for (let kills = 0; kills < ALONE; kills++) {
    const since = performance.now()
    spawnSync(process.execPath, ['-e', ''])
    starts.push(performance.now() - since)
    await kill()
    await sleep(2000)
  }
  await guest.must('touch /run/stop; until test -e /run/requests.status; do sleep 1; done')
  const longest = (await guest.must('sort -rn /run/requests.log')).split('\n').slice(0, ALONE)
  say(
    `pauses: ${medianAndLongest(longest.map((us) => Number(us) / 1000))}; a start of Node: ${medianAndLongest(starts)}`,
  )
}

export async function restartSuite(rig: Rig): Promise<void> {
  if (!selected('restart: ')) return
  const dir = join(rig.data, 'restart')
  mkdirSync(dir, { recursive: true })
  const vm = await TestGuest.boot(rig, {
    sharedDir: dir,
    // More than all of it takes, so that nothing is taken out of it meanwhile.
    daemonArgs: ['--window=memory-view', '--window-size=256M', '--on-crash=restart'],
  })
  const { daemon, guest } = vm
  const restarts = (): number => daemon.log().split('"server-restarted"').length - 1

  const killServer = async (): Promise<void> => {
    const before = restarts()
    process.kill(daemon.server(), 'SIGKILL')
    for (const deadline = Date.now() + HANG_MS; restarts() === before; await sleep(50)) {
      check(daemon.running(), `the daemon has ended: ${daemon.log().slice(-2000)}`)
      check(Date.now() < deadline, 'no server after a kill')
    }
  }

  await test(`restart: ${KILLS} times kill -9 under fio with verify in the window, changing names, SQLite, and a mapping`, async () => {
    await vm.mount()
    guest.goLast()
    for (const program of Object.values(PROGRAMS)) await guest.must(`(${program}\n) </dev/null >/dev/null 2>&1 &`)
    for (let kill = 1; kill <= KILLS; kill++) {
      await sleep(500 + Math.random() * 3000)
      await killServer()
    }
    const deadline = Date.now() + HANG_MS
    const rounds = async (): Promise<number> => Number(await guest.must('cat /run/storm.rounds 2>/dev/null || echo 0'))
    // With all servers' work behind it.
    for (const before = await rounds(); (await rounds()) < before + 2; await sleep(500))
      check(Date.now() < deadline, 'the storm does nothing any more')
    // What the servers before this one have mapped has its name still.
    const { stdout } = spawnSync(
      process.execPath,
      [join(checkout, 'dist/server/viewfsdctl.js'), `--socket=${daemon.socketPath}`, 'dax'],
      { encoding: 'utf8' },
    )
    check(stdout.includes('/watched: 2 ranges'), `viewfsdctl dax\n${stdout}`)
    await guest.must('touch /run/stop')
    for (const name of Object.keys(PROGRAMS)) {
      await guest.must(`until test -e /run/${name}.status; do sleep 1; done`)
      const log = await guest.must(`tail -n 5 /run/${name}.log`)
      equal(await guest.must(`cat /run/${name}.status`), '0', `${name}\n${log}`)
    }
    const committed = await guest.must('cat /run/sqlite.committed')
    equal(
      await guest.must("sqlite3 /mnt/sqlite 'pragma integrity_check; select count(*), max(n) + 1 from t;'"),
      `ok\n${committed}|${committed}`,
      'SQLite',
    )
    equal(restarts(), KILLS, 'servers')
    say(`${await guest.must('cat /run/watch.log')}; ${committed} transactions`)
    if (ALONE > 0) await tellPauses(vm, killServer)
  })

  await test('restart: the guest unmounts and ends as ever', async () => {
    await guest.must('umount /mnt')
    await guest.shutdown()
    equal(guest.complaints().join('\n'), '', 'guest kernel log')
    equal(await daemon.exited, 'exit status 0', 'the daemon')
  })
  await vm.destroy()
}
