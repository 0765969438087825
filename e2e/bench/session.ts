// SPDX-License-Identifier: Apache-2.0
/** The part of the guest benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { type FsDaemon, startVirtiofsd, startViewfsd } from '../guest/daemon.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runFio } from '../guest/fio.ts'
import { loadModules, mountDisk } from '../guest/host.ts'
import { runMain, step } from '../rig/progress.ts'
import { bootContender, type Contender, endContender } from './contender.ts'
import {
  type Column,
  COLUMNS,
  type Engine,
  ENGINES,
  FIO_GLOBAL,
  fioJob,
  hasWindow,
  type Pattern,
  PATTERNS,
  SWEEP,
  SWEEP_FRACTIONS,
  WINDOW_COLUMNS,
} from './matrix.ts'
import type { Sample } from './report.ts'

const MIB = 1 << 20

/** What bench-guest.ts asks for. */
export interface BenchOptions {
  readonly fileMiB: number
  /** At most this long a job. */
  readonly seconds: number
  readonly runs: number
  readonly columns: readonly Column[]
  readonly sweep: boolean
}

function windowArgs(column: Column, windowMiB: number): string[] {
  return column === 'no-window' ? ['--window=none'] : [`--window=${column}`, `--window-size=${windowMiB}M`]
}

async function boot(column: Column, windowMiB: number): Promise<Contender<Column>> {
  const name = `${column}-${windowMiB}`
  const dir = `/out/bench/${name}`
  mkdirSync(dir, { recursive: true })
  const isRust = column === 'virtiofsd'
  const start = (): Promise<FsDaemon> =>
    isRust
      ? startVirtiofsd(dir, 'data', '/data/bench')
      : startViewfsd(dir, 'data', '/data/bench', windowArgs(column, windowMiB))
  // What a user would take: without a window the generic device only costs, for it has one interrupt for all (INTx).
  const contender = await bootContender(column, name, dir, { kind: hasWindow(column) ? 'generic' : 'fs', start })
  await contender.guest.must(`mount -t virtiofs ${hasWindow(column) ? '-o dax=always' : ''} data /mnt`)
  return contender
}

function makeFile(path: string, sizeMiB: number): void {
  const block = Buffer.alloc(MIB, 'viewfsd bench data ')
  const fd = openSync(path, 'w')
  for (let index = 0; index < sizeMiB; index++) {
    block.writeUInt32LE(index, 0)
    writeSync(fd, block)
  }
  closeSync(fd)
}

interface Job {
  readonly pattern: Pattern
  readonly engine: Engine
}

const MATRIX: readonly Job[] = PATTERNS.flatMap((pattern) => ENGINES.map((engine) => ({ pattern, engine })))

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-guest.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as BenchOptions
  loadModules()
  mountDisk('ext4')
  mkdirSync('/data/bench')
  makeFile('/data/bench/fio-file1', options.fileMiB)
  const samples: Sample[] = []

  /**
   * Boots a guest of each column and lets them take turns, so that what else the machine does meanwhile is spread over all
   * of them. The others are idle; one fio runs all the jobs of a turn.
   */
  const compete = async (columns: readonly Column[], windowMiB: number, jobs: readonly Job[], fraction?: number) => {
    const contenders: Contender<Column>[] = []
    for (const column of columns) if (options.columns.includes(column)) contenders.push(await boot(column, windowMiB))
    for (let run = 1; run <= options.runs; run++)
      for (const { column, guest } of contenders) {
        const results = await step(`${column}: ${jobs.length} jobs, run ${run} of ${options.runs}`, () =>
          runFio(guest, {
            file: '/mnt/fio-file1',
            sizeBytes: options.fileMiB * MIB,
            seconds: options.seconds,
            global: FIO_GLOBAL,
            jobs: jobs.map(({ pattern, engine }) => fioJob(pattern, engine)),
          }),
        )
        for (const [index, job] of jobs.entries()) {
          const bytesPerSecond = results[index]?.bytesPerSecond ?? Number.NaN
          const windowFraction = fraction === undefined ? {} : { windowFraction: fraction }
          samples.push({ column, ...job, bytesPerSecond, ...windowFraction })
        }
        writeFileSync('/out/samples.json', JSON.stringify(samples))
      }
    for (const contender of contenders) await endContender(contender)
  }

  await compete(COLUMNS, Math.max(128, 2 * options.fileMiB), MATRIX)
  if (options.sweep)
    for (const fraction of SWEEP_FRACTIONS) await compete(WINDOW_COLUMNS, options.fileMiB * fraction, [SWEEP], fraction)
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
