// SPDX-License-Identifier: Apache-2.0
/** The part of the workload benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { type FsDaemon, startViewfsd, startVirtiofsd } from '../guest/daemon.ts'
import type { Guest } from '../guest/guest.ts'
import { loadModules, mountDisk } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, step } from '../rig/progress.ts'
import { bootContender, type Contender, endContender, takeTurn } from './contender.ts'
import { daemonTime } from './cpu-time.ts'
import { parseHistogram, type WorkloadSample } from './workload-report.ts'
import { type Column, COLUMNS, GUEST_NPM, makeShare, type Workload, WORKLOADS } from './workloads.ts'

/** What bench-workloads.ts asks for. */
export interface WorkloadOptions {
  readonly runs: number
  /** Files of the archive. */
  readonly files: number
  /** --cache of both daemons. */
  readonly cache: string
  readonly only: readonly string[]
}

/** Longer than any takes under the emulator. */
const TIMEOUT_MS = 1_800_000
const EVENT = '/sys/kernel/tracing/events/fuse/fuse_request_send'

async function boot(column: Column, { files, cache }: WorkloadOptions): Promise<Contender<Column>> {
  const dir = `/out/bench/${column}`
  const share = `/data/${column}`
  mkdirSync(dir, { recursive: true })
  makeShare(share, files)
  const start = (): Promise<FsDaemon> =>
    column === 'viewfsd'
      ? startViewfsd(dir, 'data', share, ['--window=none', `--cache=${cache}`])
      : startVirtiofsd(dir, 'data', share, [`--cache=${cache}`])
  // The same device for both: QEMU's generic one, which a window would need, takes longer for each request.
  return bootContender(
    column,
    column,
    dir,
    { kind: 'fs', start },
    // npm from a file system that is not measured.
    `mkdir ${GUEST_NPM} && tar -C ${GUEST_NPM} -xf /root/npm.tar --strip-components=1
    mount -t virtiofs data /mnt
    [ -d ${EVENT} ] || mount -t tracefs tracefs /sys/kernel/tracing
    [ -d ${EVENT} ]
    git config --global --add safe.directory '*'`,
  )
}

/** The guest's kernel counts what it sends on the connection of /mnt; FORGET is not among it. */
async function measure(guest: Guest, daemon: FsDaemon, workload: Workload): Promise<Omit<WorkloadSample, 'column'>> {
  const remount = workload.cold ? 'umount /mnt && mount -t virtiofs data /mnt' : 'true'
  await guest.must(`( ${workload.prepare ?? 'true'} ) && sync && ${remount}`, TIMEOUT_MS)
  const before = daemonTime(daemon)
  const output = await guest.must(
    `trigger="hist:keys=opcode if connection == $(stat -c %d /mnt)"
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
    daemonSeconds: (daemonTime(daemon) - before) / 1e9,
    seconds: Number(/nanoseconds: (\d+)/.exec(output)?.[1]) / 1e9,
    requests: parseHistogram(output),
  }
}

/** Those that follow at once on what they build on stay together; between the others the daemons change. */
function inTurns(workloads: readonly Workload[]): Workload[][] {
  const groups: Workload[][] = []
  for (const workload of workloads) {
    if (workload.cold || groups.length === 0) groups.push([])
    groups.at(-1)?.push(workload)
  }
  return groups
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-workloads.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as WorkloadOptions
  loadModules()
  mountDisk('ext4')
  const contenders: Contender<Column>[] = []
  for (const column of COLUMNS) contenders.push(await boot(column, options))
  const workloads = WORKLOADS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))
  const samples: WorkloadSample[] = []
  for (let run = 1; run <= options.runs; run++)
    // Who goes first pays for what the host has left to write.
    for (const together of inTurns(workloads))
      for (const contender of run % 2 === 1 ? contenders : contenders.toReversed())
        await takeTurn(contender, async (guest) => {
          const { column, daemons } = contender
          const [daemon] = daemons
          if (daemon === undefined) throw new Error('every column has a daemon')
          for (const workload of together) {
            const sample = await step(`${column}: ${workload.name}, run ${run} of ${options.runs}`, () =>
              measure(guest, daemon, workload),
            )
            samples.push({ column, ...sample })
            writeFileSync('/out/samples.json', JSON.stringify(samples))
          }
        })
  for (const contender of contenders) await endContender(contender)
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
