// SPDX-License-Identifier: Apache-2.0
/** The part of the guest benchmark that asks whose time a miss is (cpu-time.ts). */
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { Viewfsd } from '../guest/daemon.ts'
import { runFio } from '../guest/fio.ts'
import { sh } from '../guest/host.ts'
import { checkout } from '../rig/paths.ts'
import type { Contender } from './contender.ts'
import { cpuTime, cpuTimeBetween, requestsBetween, type TimeSample } from './cpu-time.ts'
import { type BenchOptions, FILE, MIB, roomyWindow, type Special, withFioGuest } from './fio-guest.ts'
import { type Column, FIO_GLOBAL, fioJob, SWEEP, SWEEP_FRACTIONS } from './matrix.ts'

/** Builds null-view.c, and tells how viewfsd is started with it: outside its sandbox, whose rules know of no memfd. */
function nullView(): Special {
  const library = '/tmp/null-view.so'
  const source = join(checkout, 'e2e/bench/null-view.c')
  sh(`gcc -O1 -shared -fPIC -I ${join(checkout, 'kernel/include/uapi')} -o ${library} ${source}`)
  return { args: ['--sandbox=none', '--seccomp=none'], env: { LD_PRELOAD: library } }
}

/** Seconds of the job whose time is looked at, and when: fio has started by then, and has not ended. */
const TIMED_JOB = { seconds: 24, from: 8, to: 20 } as const

/** Where the time of the sweep's job goes. */
async function timeSample(
  { guest, daemons }: Contender<Column>,
  fileMiB: number,
  window: Pick<TimeSample, 'windowFraction' | 'nullView'>,
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
    ...window,
    ...time,
    reads: ((result?.iops ?? Number.NaN) * time.wall) / 1e9,
    requests: requestsBetween(requests, after),
  }
}

/** One guest at a time, for what others do would be in "the rest". */
export async function timeSamples(options: BenchOptions): Promise<TimeSample[]> {
  const samples: TimeSample[] = []
  const take = async (
    column: Column,
    windowMiB: number,
    window: Parameters<typeof timeSample>[2],
    special?: Special,
  ) => {
    if (!options.columns.includes(column)) return
    const work = (contender: Contender<Column>) => timeSample(contender, options.fileMiB, window)
    samples.push(await withFioGuest(column, windowMiB, work, special))
  }
  const free = nullView()
  for (const windowFraction of SWEEP_FRACTIONS.filter((size) => size < 1)) {
    await take('memory-view', options.fileMiB * windowFraction, { windowFraction })
    await take('memory-view', options.fileMiB * windowFraction, { windowFraction, nullView: true }, free)
  }
  await take('no-window', roomyWindow(options), {})
  return samples
}
