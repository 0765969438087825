// SPDX-License-Identifier: Apache-2.0
/** The part of the comparison that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { startViewfsd, startVirtiofsd } from '../guest/daemon.ts'
import type { Guest } from '../guest/guest.ts'
import { loadModules, mountDisk, sh } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, step } from '../rig/progress.ts'
import { BIG_MIB, COMPARED, type ComparisonSample, MOUNTS, type Way, WAYS } from './comparison.ts'
import { bootContender, type Contender, type DataDevice, endContender, takeTurn } from './contender.ts'
import { NINEP_MODULES } from './ninep.ts'
import { makeShare, type Workload } from './workloads.ts'

/** What bench-comparison.ts asks for. */
export interface ComparisonOptions {
  readonly runs: number
  /** Files of the archive. */
  readonly files: number
}

/** Longer than any takes under the emulator. */
const TIMEOUT_MS = 1_800_000

/** What the guest's own kernel has a driver for, served by QEMU alone. */
function withoutDaemon(way: Way, share: string): DataDevice {
  if (way !== 'virtio-blk')
    return { kind: 'none', qemu: ['-virtfs', `local,path=${share},mount_tag=data,security_model=passthrough`] }
  const image = `${share}.raw`
  sh(`truncate -s 1G ${image}; mkfs.ext4 -q -E lazy_itable_init=0,nodiscard -d ${share} ${image}; rm -r ${share}`)
  return { kind: 'none', qemu: ['-drive', `file=${image},format=raw,if=virtio`] }
}

function dataDevice(way: Way, dir: string, share: string): DataDevice {
  const windowArgs = ['--window=memory-view', '--window-size=512M', '--dax-policy=64K']
  if (way === 'viewfsd, window') return { kind: 'generic', start: () => startViewfsd(dir, 'data', share, windowArgs) }
  if (way === 'viewfsd') return { kind: 'fs', start: () => startViewfsd(dir, 'data', share, ['--window=none']) }
  if (way === 'virtiofsd') return { kind: 'fs', start: () => startVirtiofsd(dir, 'data', share) }
  return withoutDaemon(way, share)
}

async function boot(way: Way, index: number, options: ComparisonOptions): Promise<Contender<Way>> {
  const dir = `/out/bench/${index}`
  const share = `/data/${index}`
  for (const path of [dir, share]) mkdirSync(path, { recursive: true })
  makeShare(share, options.files)
  sh(`dd if=/dev/urandom of=${share}/big bs=1M count=${BIG_MIB} status=none`)
  const prepare = [`${MOUNTS[way]}; git config --global --add safe.directory '*'`]
  if (way.startsWith('9p'))
    prepare.unshift(`modprobe netfs; for m in ${NINEP_MODULES.join(' ')}; do insmod /root/$m; done`)
  if (way === 'virtio-blk') prepare.unshift('modprobe virtio_blk; modprobe ext4; [ -b /dev/vda ]')
  return bootContender(way, String(index), dir, dataDevice(way, dir, share), prepare.join('\n'))
}

async function measure(guest: Guest, mount: string, workload: Workload): Promise<Omit<ComparisonSample, 'way'>> {
  const remount = workload.cold ? `umount /mnt && ${mount}` : 'true'
  const cached = "awk '/^Cached:/ {print $2}' /proc/meminfo"
  const output = await guest.must(
    `( ${workload.prepare ?? 'true'} ) && sync && ${remount}
    before=$(${cached})
    began=$(date +%s%N)
    ( set -e; ${workload.script} ) >/dev/null
    status=$?
    ended=$(date +%s%N)
    echo "status: $status nanoseconds: $((ended - began)) cached: $(($(${cached}) - before))"`,
    TIMEOUT_MS,
  )
  const [, status, nanoseconds, cachedKiB] = /status: (\d+) nanoseconds: (\d+) cached: (-?\d+)/.exec(output) ?? []
  const seconds = status === '0' ? Number(nanoseconds) / 1e9 : null
  return { workload: workload.name, seconds, cachedKiB: Number(cachedKiB) }
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-comparison.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as ComparisonOptions
  loadModules()
  mountDisk('ext4')
  const contenders: Contender<Way>[] = []
  for (const [index, way] of WAYS.entries()) contenders.push(await boot(way, index, options))
  const samples: ComparisonSample[] = []
  for (let run = 1; run <= options.runs; run++)
    for (const contender of contenders) {
      const way = contender.column
      await step(`${way}: run ${run} of ${options.runs}`, () =>
        takeTurn(contender, async (guest) => {
          for (const workload of COMPARED) {
            const sample = await measure(guest, MOUNTS[way], workload)
            if (sample.seconds === null && !way.startsWith('9p')) throw new Error(`${way}: ${workload.name} has failed`)
            samples.push({ way, ...sample })
          }
        }),
      )
      writeFileSync('/out/samples.json', JSON.stringify(samples))
    }
  for (const contender of contenders) await endContender(contender)
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
