// SPDX-License-Identifier: Apache-2.0
/**
 * The part of the quickstart that runs where the guest runs: shares /share with a guest over viewfsd and a memory view,
 * checks every file through the guest's DAX mount, measures a little, and leaves /out/summary.json.
 * VIEWFSD_SHELL=1 gives a shell in the guest instead.
 */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync, ftruncateSync } from 'node:fs'
import { join } from 'node:path'
import { runMain, say, step } from '../rig/progress.ts'
import { type Counters, startVirtiofsd, startViewfsd } from './daemon.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { checksumList } from './files.ts'
import { type FioResult, runFio } from './fio.ts'
import { Guest } from './guest.ts'
import { makeGuestRoot } from './guest-root.ts'
import { guestKernel, loadModules } from './host.ts'
import { connectPatiently } from './qmp.ts'

const SHARE = '/share'
const LOGS = '/out/quickstart'
/** fio's file in the shared directory; removed at the end. */
const SCRATCH = '.viewfsd-quickstart-scratch'
const SCRATCH_BYTES = 32 << 20

/** What the quickstart found; printed by quickstart.ts. */
export interface QuickstartSummary {
  readonly files: number
  readonly bytes: number
  readonly checksumSeconds: number
  readonly pageCacheGrowthKiB: number
  readonly fuseReads: number
  readonly fio: readonly FioResult[]
  readonly mappingsMade: number
  readonly mappingsRemoved: number
  readonly mappingsLive: number
  readonly faults: number
  readonly messagesAtStart: number
  readonly messagesAfterwards: number
}

function count(counters: Counters, name: string): number {
  const value = counters.get(name)
  return value ?? 0
}

function messages(counters: Counters): number {
  return count(counters, 'frontendMessages.shmemMap') + count(counters, 'frontendMessages.shmemUnmap')
}

async function terminal(guest: Guest): Promise<void> {
  const socket = await connectPatiently(join(guest.options.dir, 'terminal.sock'), 5000)
  process.stdin.on('data', (chunk) => socket.write(chunk))
  socket.on('data', (chunk) => process.stdout.write(chunk))
  say('a shell in the guest; the shared directory is /mnt; exit or Ctrl-D ends it\r')
  await guest.run('stty -F /dev/hvc0 sane; cd /mnt; setsid -c sh -i </dev/hvc0 >/dev/hvc0 2>&1', 2 ** 31 - 1)
  socket.destroy()
  process.stdin.pause()
}

async function measure(guest: Guest, counters: () => Promise<Counters>, writable: boolean): Promise<QuickstartSummary> {
  const sums = await step('checksums of the files on the host', async () => checksumList(SHARE))
  const atStart = await counters()
  const cachedKiB = async () => Number(await guest.must("awk '/^Cached:/ {print $2}' /proc/meminfo"))
  await guest.must(`cat >/tmp/SUMS <<'VIEWFSD-END'\n${sums.list}VIEWFSD-END\nsha256sum /tmp/SUMS >/dev/null`)
  const cachedBefore = await cachedKiB()
  const since = Date.now()
  await step(
    `checksum of each of ${sums.files} files (${(sums.bytes / 1e6).toFixed(0)} MB) through the guest's DAX mount`,
    () => guest.must('cd /mnt && sha256sum -c --quiet /tmp/SUMS', 1_800_000),
  )
  const checksumSeconds = (Date.now() - since) / 1000
  const pageCacheGrowthKiB = (await cachedKiB()) - cachedBefore
  const afterReads = await counters()
  let fio: FioResult[] = []
  if (writable) {
    const fd = openSync(join(SHARE, SCRATCH), 'w')
    ftruncateSync(fd, SCRATCH_BYTES)
    closeSync(fd)
    try {
      fio = await step('fio in the guest: read and write, psync and mmap', () =>
        runFio(guest, {
          file: `/mnt/${SCRATCH}`,
          sizeBytes: SCRATCH_BYTES,
          seconds: 3,
          global: ['time_based', 'norandommap', 'invalidate=0', 'end_fsync=1'],
          jobs: [
            { name: 'sequential read', rw: 'read', engine: 'psync', blockBytes: 65536 },
            { name: 'random read', rw: 'randread', engine: 'mmap', blockBytes: 4096 },
            { name: 'sequential write', rw: 'write', engine: 'psync', blockBytes: 65536 },
            { name: 'random write', rw: 'randwrite', engine: 'mmap', blockBytes: 4096 },
          ],
        }),
      )
    } finally {
      rmSync(join(SHARE, SCRATCH), { force: true })
    }
  }
  const end = await counters()
  return {
    files: sums.files,
    bytes: sums.bytes,
    checksumSeconds,
    pageCacheGrowthKiB,
    fuseReads: count(afterReads, 'fuse.requests.READ') - count(atStart, 'fuse.requests.READ'),
    fio,
    mappingsMade: count(end, 'fuse.mappingsSetUp'),
    mappingsRemoved: count(end, 'fuse.mappingsRemoved'),
    mappingsLive: count(end, 'window.live'),
    faults: count(end, 'window.faults'),
    messagesAtStart: messages(atStart),
    messagesAfterwards: messages(end) - messages(atStart),
  }
}

async function main(): Promise<number> {
  const shell = process.env['VIEWFSD_SHELL'] === '1'
  const readOnly = process.env['VIEWFSD_READONLY'] === '1'
  mkdirSync(LOGS, { recursive: true })
  loadModules()
  if (!existsSync('/dev/memory-view')) throw new Error('the driver made no /dev/memory-view')
  const root = makeGuestRoot('/run/quickstart')
  const rootDaemon = await startVirtiofsd(LOGS, 'root', root, ['--cache=always'])
  const daemon = await step('starting viewfsd with a memory-view window', () =>
    startViewfsd(LOGS, 'data', SHARE, [
      '--window=memory-view',
      '--window-size=1G',
      ...(readOnly ? ['--readonly'] : []),
    ]),
  )
  const guest = await step('booting the guest (QEMU with KVM)', () =>
    Guest.boot({
      dir: LOGS,
      kernelImage: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
      devices: [
        { socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' },
        { socketPath: daemon.socketPath, kind: 'generic', tag: 'data' },
      ],
      terminal: shell,
    }),
  )
  await step('mounting the shared directory with -o dax=always', () =>
    guest.must('mount -t virtiofs -o dax=always data /mnt'),
  )
  if (shell) await terminal(guest)
  else {
    const summary = await measure(guest, () => daemon.counters(), !readOnly)
    writeFileSync('/out/summary.json', JSON.stringify(summary, null, 2))
  }
  await step('ending the guest', () => guest.shutdown())
  await daemon.end()
  await rootDaemon.end()
  const complaints = guest.complaints()
  if (complaints.length > 0) throw new Error(`the guest's kernel log has\n${complaints.join('\n')}`)
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
