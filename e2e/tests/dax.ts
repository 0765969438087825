// SPDX-License-Identifier: Apache-2.0
/** Data through the window: right bytes, no messages to QEMU, exact bookkeeping, durable writes. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checksumList, pattern, writePatternFiles } from '../guest/files.ts'
import type { Guest } from '../guest/guest.ts'
import { dropCaches, sh } from '../guest/host.ts'
import { checkout } from '../rig/paths.ts'
import { changingFiles } from './changing-files.ts'
import { failingFiles } from './failing-files.ts'
import { failingFileSystems } from './failing-file-systems.ts'
import { check, count, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'
import { TestGuest } from './test-guest.ts'

const MIB = 1 << 20
/** The unit of a guest's DAX window (fs/fuse/dax.c, FUSE_DAX_SHIFT). */
const RANGE = 2 * MIB
/** How much of a file of huge pages is looked at. */
const HUGE_RANGES = 8

/**
 * Counts, in the guest's kernel, the mappings that a guest makes over its own read-only ones (fs/fuse/dax.c,
 * fuse_setup_one_mapping(inode, start_idx, dmap, writable, upgrade)): the daemon's word alone would prove nothing.
 */
const COUNT_UPGRADES = `mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
cd /sys/kernel/tracing
echo 'p:dax_setup fuse_setup_one_mapping upgrade=%r8:u8' >kprobe_events && echo 1 >events/kprobes/dax_setup/enable`

async function upgrades(guest: Guest): Promise<number> {
  return Number(await guest.must("grep -c 'dax_setup:.*upgrade=1' /sys/kernel/tracing/trace || true"))
}

/** How much of the view a process has mapped by entries of 2 MiB. */
function viewInHugePages(pid: number | undefined): number {
  let view = false
  let kib = 0
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) view = line.includes('memory-view')
    else if (view) kib += Number(/^(?:File|Shmem)PmdMapped: +(\d+) kB$/.exec(line)?.[1] ?? 0)
  }
  return kib * 1024
}

/** How many pages of 2 MiB the VM of a QEMU has in its nested page tables. */
function kvmHugePages(pid: number | undefined): number {
  const dir = '/sys/kernel/debug/kvm'
  const vms = readdirSync(dir).filter((name) => name.startsWith(`${pid}-`))
  equal(vms.length, 1, 'VMs of QEMU')
  return Number(readFileSync(join(dir, vms[0] ?? '', 'pages_2m'), 'utf8'))
}

/** Live segments must be ranges set up, less those replaced in place, less those removed. */
async function checkAccounting(vm: TestGuest): Promise<void> {
  const replaced = await upgrades(vm.guest)
  const counters = await vm.counters()
  const expected = count(counters, 'fuse.mappingsSetUp') - replaced - count(counters, 'fuse.mappingsRemoved')
  equal(count(counters, 'window.live'), expected, 'live segments of the driver')
}

function ctl({ daemon }: TestGuest, ...args: readonly string[]): { stdout: string; stderr: string } {
  const program = join(checkout, 'dist/server/viewfsdctl.js')
  return spawnSync(process.execPath, [program, `--socket=${daemon.socketPath}`, ...args], { encoding: 'utf8' })
}

/** `ok`, or the error's code. */
function execute(program: string): string {
  const { error, status } = spawnSync(program)
  if (error === undefined) return status === 0 ? 'ok' : `status ${status}`
  return 'code' in error ? String(error.code) : error.message
}

/** A guest's close(2) does not wait until its host has heard of it. */
async function untilExecuted(program: string, round: string): Promise<void> {
  for (let tries = 0; execute(program) !== 'ok'; tries++) {
    check(tries < 6000, `${round}: ${execute(program)}`)
    await sleep(100)
  }
}

export async function daxSuite(rig: Rig): Promise<void> {
  if (!selected('dax: ')) return
  const dir = join(rig.data, 'dax')
  writePatternFiles(dir)
  const sums = checksumList(dir)
  writeFileSync(join(dir, 'SUMS'), sums.list)
  writeFileSync(join(dir, 'big'), pattern(64 * MIB, 99))
  // As systemd has made every mount of an ordinary host: who unmounts something asks the daemon's namespace, too.
  sh(`mount --bind ${dir} ${dir}; mount --make-shared ${dir}`)
  const unmappable = join(dir, 'refused')
  mkdirSync(unmappable)
  sh(`mount -t hugetlbfs none ${unmappable}; truncate -s 2M ${unmappable}/file`)
  const huge = join(dir, 'huge')
  mkdirSync(huge)
  sh(`mount -t tmpfs -o huge=always none ${huge}`)
  writeFileSync(join(huge, 'file'), pattern(HUGE_RANGES * RANGE, 41))
  const changingSeconds = Number(process.env['VIEWFSD_CHANGING_SECONDS'] ?? 0)
  const failing = await failingFileSystems(join(dir, 'failing'), `${dir}-disks`)
  dropCaches()
  const vm = await TestGuest.boot(rig, { sharedDir: dir, daemonArgs: ['--window=memory-view', '--window-size=64M'] })
  const { guest } = vm

  await test('dax: the share mounts with dax=always', async () => {
    await guest.must(COUNT_UPGRADES)
    await vm.mount()
    check((await guest.must('grep /mnt /proc/mounts')).includes('dax=always'), '/proc/mounts lacks dax=always')
  })

  // First of all: where a page table for small pages has been, no huge page can come.
  await test('dax: what is huge in memory is huge in QEMU and in KVM, to read and to write', async () => {
    const enough = HUGE_RANGES * RANGE * 0.95
    const before = kvmHugePages(guest.process.pid)
    const look = (how: string): void => {
      const shown = viewInHugePages(guest.process.pid)
      check(shown >= enough, `${shown} of ${HUGE_RANGES * RANGE} bytes that were ${how} are mapped by huge entries`)
      const inKvm = (kvmHugePages(guest.process.pid) - before) * RANGE
      check(inKvm >= enough, `${inKvm} of ${HUGE_RANGES * RANGE} bytes that were ${how} are huge pages in KVM`)
    }
    await guest.must('sha256sum /mnt/huge/file >/dev/null')
    look('read')
    // Without an open file that can write, ranges become read-only again, and have no entries then.
    await guest.must('sleep 9999 9<>/mnt/huge/file </dev/null >/dev/null 2>&1 & echo $! >/run/writer')
    await guest.must(
      `dd if=/dev/zero of=/mnt/huge/file bs=1M count=${(HUGE_RANGES * RANGE) / MIB} conv=notrunc status=none`,
    )
    look('written')
    await guest.must('kill $(cat /run/writer)')
  })

  await test('dax: every file has its bytes, with read() and with mmap', async () => {
    await guest.must('cd /mnt && sha256sum -c --quiet SUMS')
    const size = 24 * MIB
    await guest.must(
      `fio --name=m --filename=$(ls /mnt/f*-${size}) --readonly --rw=read --bs=64k --ioengine=mmap --size=${size} --minimal >/dev/null`,
    )
  })

  await test('dax: no FUSE READ for data that the window shows, no page cache in the guest', async () => {
    await guest.must('sync; echo 3 >/proc/sys/vm/drop_caches')
    const before = await vm.counters()
    const cached = async () => Number(await guest.must("awk '/^Cached:/ {print $2}' /proc/meminfo"))
    const cachedBefore = await cached()
    await guest.must('cat /mnt/big >/dev/null')
    const growthKiB = (await cached()) - cachedBefore
    const after = await vm.counters()
    equal(count(after, 'fuse.requests.READ'), count(before, 'fuse.requests.READ'), 'FUSE READ requests')
    check(
      count(after, 'fuse.mappingsSetUp') - count(before, 'fuse.mappingsSetUp') >= 32,
      'fewer than 32 ranges were set up',
    )
    check(growthKiB < 4096, `the guest's page cache grew by ${growthKiB} KiB for 64 MiB of reads`)
  })

  await test('dax: no message reaches QEMU after the start, through hundreds of mappings', async () => {
    const before = await vm.counters()
    // Random pages of two files that are larger than the window together: most accesses take a range from another. How
    // many do is chance, so there are as many rounds as it takes.
    const common = '--readonly --rw=randread --bs=4k --norandommap --randrepeat=0 --minimal --stonewall'
    let after = before
    for (let round = 0; round < 20 && count(after, 'window.maps') - count(before, 'window.maps') < 100; round++) {
      await guest.must(
        `fio ${common} --name=a --filename=/mnt/big --ioengine=mmap --size=64m --io_size=4m \
           --name=b --filename=$(ls /mnt/f*-${24 * MIB}) --ioengine=psync --size=24m --io_size=1m >/dev/null`,
        900_000,
      )
      after = await vm.counters()
    }
    const maps = count(after, 'window.maps') - count(before, 'window.maps')
    check(maps >= 100, `only ${maps} ranges were mapped`)
    for (const name of ['frontendMessages.shmemMap', 'frontendMessages.shmemUnmap'])
      equal(count(after, name), count(before, name), `${name} since the start`)
    check(count(after, 'frontendMessages.shmemMap') <= 4, 'more than a handful of messages at the start')
  })

  await test('dax: ranges set up, replaced and removed add up to the live segments', async () => {
    await checkAccounting(vm)
    // A read mapping first, then a write to it: an upgrade in place.
    await guest.must(
      `cd /mnt; dd if=/dev/zero of=upgrade bs=1M count=${(20 * RANGE) / MIB} status=none; sync; echo 3 >/proc/sys/vm/drop_caches
       cat upgrade >/dev/null; /root/dax-io touch upgrade upgrade`,
    )
    check((await upgrades(guest)) >= 20, 'fewer than 20 ranges were upgraded in place')
    await checkAccounting(vm)
    // A file that no window can show: refused, and nothing of it is counted.
    const before = await vm.counters()
    const { status } = await guest.run('cat /mnt/refused/file >/dev/null')
    check(status !== 0, 'a file on hugetlbfs could be read through the window')
    const refused = await vm.counters()
    check(count(refused, 'fuse.mappingsRefused') > count(before, 'fuse.mappingsRefused'), 'no mapping was refused')
    await checkAccounting(vm)
    // Eviction removes in batches.
    await guest.must('rm /mnt/upgrade; sync; echo 2 >/proc/sys/vm/drop_caches')
    const removed = await vm.counters()
    const entries = count(removed, 'fuse.mappingsRemoved') - count(refused, 'fuse.mappingsRemoved')
    const requests = count(removed, 'fuse.requests.REMOVEMAPPING') - count(refused, 'fuse.requests.REMOVEMAPPING')
    check(
      entries >= 20 && requests > 0 && requests < entries,
      `${entries} ranges removed by ${requests} requests: no batch`,
    )
    await checkAccounting(vm)
  })

  await test('dax: a write through mmap and fsync is on the disk of the host', async () => {
    const bytes = pattern(3 * MIB, 5)
    mkdirSync(join(dir, 'in'), { recursive: true })
    writeFileSync(join(dir, 'in/source'), bytes)
    writeFileSync(join(dir, 'in/target'), Buffer.alloc(bytes.length, 0xee))
    await guest.must('/root/dax-io copy /mnt/in/source /mnt/in/target')
    dropCaches()
    check(readFileSync(join(dir, 'in/target')).equals(bytes), 'the file on the host differs')
  })

  await test('dax: what the host writes is what the guest sees', async () => {
    const first = pattern(2 * RANGE, 21)
    writeFileSync(join(dir, 'shared'), first)
    await guest.must('sha256sum /mnt/shared >/dev/null')
    const second = pattern(2 * RANGE, 22)
    writeFileSync(join(dir, 'shared'), second, { flag: 'r+' })
    writeFileSync(
      join(dir, 'SHARED'),
      checksumList(dir)
        .list.split('\n')
        .filter((line) => line.endsWith('  shared'))
        .join('\n') + '\n',
    )
    await guest.must('cd /mnt && sha256sum -c --quiet SHARED')
  })

  await test('dax: a file written from the mapping of a DAX file, buffered and O_DIRECT', async () => {
    const bytes = pattern(3 * MIB, 31)
    writeFileSync(join(dir, 'source'), bytes)
    await guest.must(
      `/root/dax-io write /mnt/source /mnt/copy-buffered
/root/dax-io write /mnt/source /mnt/copy-direct direct`,
    )
    dropCaches()
    for (const name of ['copy-buffered', 'copy-direct'])
      check(readFileSync(join(dir, name)).equals(bytes), `${name} differs`)
  })

  await test('dax: a program that the guest has written is executed on the host when nobody there can write it', async () => {
    const program = join(dir, 'program')
    writeFileSync(program, Buffer.concat([Buffer.from('#!/bin/true\n'), pattern(5 * MIB, 41)]), { mode: 0o755 })
    const before = await vm.counters()
    for (const round of ['first', 'second']) {
      await guest.must('/root/dax-io touch /mnt/program /mnt/program')
      await untilExecuted(program, round)
    }
    // A mapping keeps its file open.
    await guest.must(`mkfifo /run/go
      (/root/dax-io keep /mnt/program 'touch /run/mapped; cat /run/go'; echo status $?) </dev/null >/run/kept 2>&1 &
      until [ -e /run/mapped ]; do sleep 0.1; done`)
    equal(execute(program), 'ETXTBSY', 'execution of a program that is mapped for writing')
    await guest.must('echo >/run/go; until grep status /run/kept; do sleep 0.1; done; grep -qx "status 0" /run/kept')
    await untilExecuted(program, 'third')
    const after = await vm.counters()
    const maps = count(after, 'fuse.mappingsSetUp') - count(before, 'fuse.mappingsSetUp')
    check(maps <= 9, `the guest has set up ${maps} ranges for three: it has noticed`)
  })

  await test('dax: the daemon has said what its window can not show', () => {
    check(vm.daemon.log().includes("can't show files of refused (hugetlbfs)"), vm.daemon.log())
  })

  await test('dax: a file can be opened while it is mapped elsewhere', async () => {
    // A guest that drops its cache at each open complains about mapped DAX pages (dax_disassociate_entry); the console
    // is checked below.
    await guest.must("/root/dax-io hold /mnt/source 'sha256sum /mnt/source >/dev/null'")
  })

  await changingFiles(vm, dir, changingSeconds)
  await failingFiles(vm, '/mnt/failing', failing, changingSeconds)

  await test('dax: the host unmounts what a program of the guest has mapped, once it is forgotten', async () => {
    const pipe = '/run/held'
    const held = async (): Promise<string> => guest.must(`echo r >${pipe}; head -n 1 ${pipe}.answer`)
    await guest.must(
      `mkfifo ${pipe} ${pipe}.answer; (/root/dax-io talk /mnt/huge/file <>${pipe} >${pipe}.answer 2>&1 &) 3<>${pipe}.answer`,
    )
    writeFileSync(join(huge, 'file'), 'forgets!', { flag: 'r+' })
    check((await held()).includes('forgets!'), 'the mapping does not show the file')
    check(spawnSync('umount', [huge]).status !== 0, 'what the guest holds could be unmounted')
    const { stdout, stderr } = ctl(vm, '--json', 'forget', huge)
    check(/"ranges": [1-9]/.test(stdout), `forget: ${stdout}${stderr}`)
    // Its files stay open for a quarter of a second (anchor_idle_ms).
    for (let tries = 0; spawnSync('umount', [huge]).status !== 0; tries++) {
      check(tries < 600, 'what is forgotten can not be unmounted')
      await sleep(100)
    }
    check(!(await held()).includes('forgets!'), 'the mapping still shows the file')
    equal(spawnSync('mountpoint', ['-q', huge]).status, 32, 'mountpoint')
    await guest.must('cd /mnt && sha256sum -c --quiet SUMS')
  })

  await test('dax: the guest ends, the daemon goes with it, no complaint in its kernel log', async () => {
    await vm.guest.shutdown()
    equal(await vm.daemon.exited, 'exit status 0', 'the end of the daemon')
    equal(guest.complaints().join('\n'), '', 'guest kernel log')
  })
  await vm.destroy()
}
