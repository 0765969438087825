// SPDX-License-Identifier: Apache-2.0
/** The part of the guest benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { setTimeout as sleep } from 'node:timers/promises'
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type FsDaemon, startVirtiofsd, startViewfsd, Viewfsd } from '../guest/daemon.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { type FioPlace, runFio } from '../guest/fio.ts'
import { loadModules, mountDisk, sh } from '../guest/host.ts'
import { runMain, step } from '../rig/progress.ts'
import { bootContender, type Contender, endContender, takeTurn } from './contender.ts'
import { cpuTime, cpuTimeBetween, requestsBetween, type TimeSample } from './cpu-time.ts'
import {
  type Column,
  COLUMNS,
  type Engine,
  ENGINES,
  FIO_GLOBAL,
  fioJob,
  hasWindow,
  type Part,
  type Pattern,
  PATTERNS,
  SWEEP,
  SWEEP_FRACTIONS,
  WINDOW_COLUMNS,
} from './matrix.ts'
import type { Sample } from './report.ts'
import { RESIDENT_GLOBAL, RESIDENT_JOBS, RESIDENT_MIB, type ResidentSample } from './resident.ts'

const MIB = 1 << 20
const SHARE = '/data/bench'
const FILE_NAME = 'fio-file1'
/** In the guest. */
const FILE = `/mnt/${FILE_NAME}`

/** What bench-guest.ts asks for. */
export interface BenchOptions {
  readonly fileMiB: number
  /** At most this long a job. */
  readonly seconds: number
  readonly runs: number
  readonly columns: readonly Column[]
  readonly parts: readonly Part[]
}

/** What a session leaves in samples.json. */
export interface BenchSamples {
  readonly fio: Sample[]
  readonly time: TimeSample[]
  readonly resident: ResidentSample[]
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
    isRust ? startVirtiofsd(dir, 'data', SHARE) : startViewfsd(dir, 'data', SHARE, windowArgs(column, windowMiB))
  // What a user would take: without a window the generic device only costs, for it has one interrupt for all (INTx).
  return bootContender(
    column,
    name,
    dir,
    { kind: hasWindow(column) ? 'generic' : 'fs', start },
    `mount -t virtiofs ${hasWindow(column) ? '-o dax=always' : ''} data /mnt`,
  )
}

function makeFile(path: string, sizeMiB: number): void {
  // A file system with large folios makes them of what is written at a time.
  const pieceMiB = 4
  const piece = Buffer.alloc(pieceMiB * MIB, 'viewfsd bench data ')
  const fd = openSync(path, 'w')
  for (let index = 0; index < sizeMiB; index += pieceMiB) {
    piece.writeUInt32LE(index, 0)
    writeSync(fd, piece)
  }
  closeSync(fd)
}

interface Job {
  readonly pattern: Pattern
  readonly engine: Engine
}

const MATRIX: readonly Job[] = PATTERNS.flatMap((pattern) => ENGINES.map((engine) => ({ pattern, engine })))

/** Seconds of the job whose time is looked at, and when: fio has started by then, and has not ended. */
const TIMED_JOB = { seconds: 24, from: 8, to: 20 } as const

/** Where the time of the sweep's job goes. */
async function timeSample(
  { guest, daemons }: Contender<Column>,
  fileMiB: number,
  windowFraction?: number,
): Promise<TimeSample> {
  const [daemon] = daemons
  if (!(daemon instanceof Viewfsd)) throw new Error('only viewfsd counts its requests')
  const job = runFio(guest, {
    file: FILE,
    sizeBytes: fileMiB * MIB,
    seconds: TIMED_JOB.seconds,
    global: [...FIO_GLOBAL, 'time_based=1'],
    jobs: [fioJob(SWEEP.pattern, SWEEP.engine)],
  })
  job.catch(() => {})
  await sleep(TIMED_JOB.from * 1000)
  const requests = await daemon.counters()
  const before = await cpuTime(guest, daemon)
  await sleep((TIMED_JOB.to - TIMED_JOB.from) * 1000)
  const time = cpuTimeBetween(before, await cpuTime(guest, daemon))
  const after = await daemon.counters()
  const [result] = await job
  return {
    ...(windowFraction === undefined ? {} : { windowFraction }),
    ...time,
    reads: ((result?.iops ?? Number.NaN) * time.wall) / 1e9,
    requests: requestsBetween(requests, after),
  }
}

/** The nested host itself, as a place for fio. */
const HOST: FioPlace = { must: (script) => Promise.resolve(sh(script)) }

/** The same reads at all places, by turns. */
async function residentSamples(guest: FioPlace, options: BenchOptions): Promise<ResidentSample[]> {
  const own = '/tmp/own'
  const sizeBytes = Math.min(options.fileMiB, RESIDENT_MIB) * MIB
  await guest.must(
    `mkdir ${own} && mount -t tmpfs -o huge=always own ${own} && head -c ${sizeBytes} ${FILE} >${own}/${FILE_NAME}`,
  )
  const places = [
    { where: 'host', place: HOST, file: join(SHARE, FILE_NAME) },
    { where: 'own', place: guest, file: join(own, FILE_NAME) },
    { where: 'window', place: guest, file: FILE },
  ] as const
  const samples: ResidentSample[] = []
  // Maps the window's ranges, and by those KVM's pages.
  for (const { place, file } of places) await place.must(`cat ${file} >/dev/null`, 300_000)
  for (let run = 1; run <= options.runs; run++)
    for (const { where, place, file } of places) {
      const results = await step(`resident, ${where}, run ${run} of ${options.runs}`, () =>
        runFio(place, {
          file,
          sizeBytes,
          seconds: options.seconds,
          global: RESIDENT_GLOBAL,
          jobs: RESIDENT_JOBS,
        }),
      )
      samples.push(...results.map(({ name, bytesPerSecond }) => ({ where, job: name, bytesPerSecond })))
    }
  return samples
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-guest.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as BenchOptions
  loadModules()
  mountDisk('ext4')
  mkdirSync(SHARE)
  makeFile(join(SHARE, FILE_NAME), options.fileMiB)
  const samples: BenchSamples = { fio: [], time: [], resident: [] }
  const save = (): void => writeFileSync('/out/samples.json', JSON.stringify(samples))

  /**
   * Boots a guest of each column and lets them take turns, so that what else the machine does meanwhile is spread over all
   * of them. One fio runs all the jobs of a turn.
   */
  const compete = async (columns: readonly Column[], windowMiB: number, jobs: readonly Job[], fraction?: number) => {
    const contenders: Contender<Column>[] = []
    for (const column of columns) if (options.columns.includes(column)) contenders.push(await boot(column, windowMiB))
    for (let run = 1; run <= options.runs; run++)
      for (const contender of contenders) {
        const { column } = contender
        const results = await step(`${column}: ${jobs.length} jobs, run ${run} of ${options.runs}`, () =>
          takeTurn(contender, (guest) =>
            runFio(guest, {
              file: FILE,
              sizeBytes: options.fileMiB * MIB,
              seconds: options.seconds,
              global: FIO_GLOBAL,
              jobs: jobs.map(({ pattern, engine }) => fioJob(pattern, engine)),
            }),
          ),
        )
        for (const [index, job] of jobs.entries()) {
          const bytesPerSecond = results[index]?.bytesPerSecond ?? Number.NaN
          const windowFraction = fraction === undefined ? {} : { windowFraction: fraction }
          samples.fio.push({ column, ...job, bytesPerSecond, ...windowFraction })
        }
        save()
      }
    for (const contender of contenders) await endContender(contender)
  }

  /** One guest alone. */
  const alone = async (column: Column, windowMiB: number, work: (contender: Contender<Column>) => Promise<void>) => {
    if (!options.columns.includes(column)) return
    const contender = await boot(column, windowMiB)
    await takeTurn(contender, () => work(contender))
    save()
    await endContender(contender)
  }

  const windowMiB = Math.max(128, 2 * options.fileMiB)
  if (options.parts.includes('resident'))
    await alone('memory-view', windowMiB, async ({ guest }) => {
      samples.resident.push(...(await residentSamples(guest, options)))
    })
  if (options.parts.includes('matrix')) await compete(COLUMNS, windowMiB, MATRIX)
  if (options.parts.includes('sweep')) {
    for (const fraction of SWEEP_FRACTIONS) await compete(WINDOW_COLUMNS, options.fileMiB * fraction, [SWEEP], fraction)
    // Without the others, for what they do is in "the rest".
    for (const fraction of SWEEP_FRACTIONS.filter((size) => size < 1))
      await alone('memory-view', options.fileMiB * fraction, async (contender) => {
        samples.time.push(await timeSample(contender, options.fileMiB, fraction))
      })
    await alone('no-window', windowMiB, async (contender) => {
      samples.time.push(await timeSample(contender, options.fileMiB))
    })
  }
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
