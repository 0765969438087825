// SPDX-License-Identifier: Apache-2.0
/** The part of the workload benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { type FsDaemon, startViewfsd, startVirtiofsd } from '../guest/daemon.ts'
import { Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel, loadModules, mountDisk } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, step } from '../rig/progress.ts'
import { parseHistogram, type WorkloadSample } from './workload-report.ts'
import { type Column, COLUMNS, makeShare, type Workload, WORKLOADS } from './workloads.ts'

/** What bench-workloads.ts asks for. */
export interface WorkloadOptions {
  readonly runs: number
  /** Files of the archive. */
  readonly files: number
  readonly only: readonly string[]
}

/** Longer than any takes under the emulator. */
const TIMEOUT_MS = 1_800_000
const EVENT = '/sys/kernel/tracing/events/fuse/fuse_request_send'

interface Contender {
  readonly column: Column
  readonly guest: Guest
  readonly daemons: readonly FsDaemon[]
}

async function boot(column: Column, files: number): Promise<Contender> {
  const dir = `/out/bench/${column}`
  const share = `/data/${column}`
  mkdirSync(dir, { recursive: true })
  makeShare(share, files)
  const rootDaemon = await startVirtiofsd(dir, 'root', makeGuestRoot(`/run/bench-${column}`), ['--cache=always'])
  const daemon =
    column === 'viewfsd'
      ? await startViewfsd(dir, 'data', share, ['--window=none'])
      : await startVirtiofsd(dir, 'data', share)
  const guest = await step(`${column}: booting a guest`, () =>
    Guest.boot({
      dir,
      kernelImage: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
      memoryMiB: 768,
      devices: [
        { socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' },
        // The same for both: QEMU's generic device, which a window would need, takes longer for each request.
        { socketPath: daemon.socketPath, kind: 'fs', tag: 'data' },
      ],
    }),
  )
  await guest.must(`mount -t virtiofs data /mnt
    [ -d ${EVENT} ] || mount -t tracefs tracefs /sys/kernel/tracing
    [ -d ${EVENT} ]
    git config --global --add safe.directory '*'`)
  return { column, guest, daemons: [daemon, rootDaemon] }
}

/** The guest's kernel counts what it sends on the connection of /mnt; FORGET is not among it. */
async function measure(guest: Guest, workload: Workload): Promise<Omit<WorkloadSample, 'column'>> {
  const remount = workload.cold ? 'umount /mnt && mount -t virtiofs data /mnt' : 'true'
  const output = await guest.must(
    `( ${workload.prepare ?? 'true'} ) && sync && ${remount}
    trigger="hist:keys=opcode if connection == $(stat -c %d /mnt)"
    echo "$trigger" >${EVENT}/trigger
    began=$(date +%s%N)
    ( set -e; ${workload.script} ) >/dev/null
    status=$?
    ended=$(date +%s%N)
    cat ${EVENT}/hist
    echo "!$trigger" >${EVENT}/trigger
    echo "nanoseconds: $((ended - began))"
    exit $status`,
    TIMEOUT_MS,
  )
  return {
    workload: workload.name,
    seconds: Number(/nanoseconds: (\d+)/.exec(output)?.[1]) / 1e9,
    requests: parseHistogram(output),
  }
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-workloads.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as WorkloadOptions
  loadModules()
  mountDisk('ext4')
  const contenders: Contender[] = []
  for (const column of COLUMNS) contenders.push(await boot(column, options.files))
  const workloads = WORKLOADS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))
  const samples: WorkloadSample[] = []
  for (let run = 1; run <= options.runs; run++)
    for (const { column, guest } of contenders)
      for (const workload of workloads) {
        const sample = await step(`${column}: ${workload.name}, run ${run} of ${options.runs}`, () =>
          measure(guest, workload),
        )
        samples.push({ column, ...sample })
        writeFileSync('/out/samples.json', JSON.stringify(samples))
      }
  for (const { guest, daemons } of contenders) {
    await guest.shutdown()
    for (const daemon of daemons) await daemon.end()
  }
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
