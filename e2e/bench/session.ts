// SPDX-License-Identifier: Apache-2.0
/** The part of the guest benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { writeFileSync } from 'node:fs'
import { runFio } from '../guest/fio.ts'
import { loadModules, mountDisk } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, step } from '../rig/progress.ts'
import { type Contender, endContender, takeTurn } from './contender.ts'
import type { TimeSample } from './cpu-time.ts'
import { bootFioGuest, type BenchOptions, FILE, makeFile, MIB, roomyWindow } from './fio-guest.ts'
import {
  type Column,
  COLUMNS,
  type Engine,
  ENGINES,
  FIO_GLOBAL,
  fioJob,
  type Pattern,
  PATTERNS,
  SWEEP,
  SWEEP_FRACTIONS,
  WINDOW_COLUMNS,
} from './matrix.ts'
import type { Sample } from './report.ts'
import { residentSamples } from './resident-part.ts'
import type { ResidentSample } from './resident.ts'
import { timeSamples } from './time-part.ts'

/** What a session leaves in samples.json. */
export interface BenchSamples {
  readonly fio: Sample[]
  readonly time: TimeSample[]
  readonly resident: ResidentSample[]
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
  makeFile(options.fileMiB)
  const samples: BenchSamples = { fio: [], time: [], resident: [] }
  const save = (): void => writeFileSync('/out/samples.json', JSON.stringify(samples))

  /**
   * Boots a guest of each column and lets them take turns, so that what else the machine does meanwhile is spread over all
   * of them. One fio runs all the jobs of a turn.
   */
  const compete = async (columns: readonly Column[], windowMiB: number, jobs: readonly Job[], fraction?: number) => {
    const contenders: Contender<Column>[] = []
    for (const column of columns)
      if (options.columns.includes(column)) contenders.push(await bootFioGuest(column, windowMiB))
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

  if (options.parts.includes('resident') && options.columns.includes('memory-view'))
    samples.resident.push(...(await residentSamples(options)))
  if (options.parts.includes('matrix')) await compete(COLUMNS, roomyWindow(options), MATRIX)
  if (options.parts.includes('sweep'))
    for (const fraction of SWEEP_FRACTIONS) await compete(WINDOW_COLUMNS, options.fileMiB * fraction, [SWEEP], fraction)
  if (options.parts.includes('time')) samples.time.push(...(await timeSamples(options)))
  save()
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
