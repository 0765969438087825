// SPDX-License-Identifier: Apache-2.0
/**
 * Reads of a file that is resident, by one program: on the host; in a guest, through the window; and in the guest, of a file in its
 * own memory. What the emulator makes a guest pay for each page that it touches, its own memory has to pay as well.
 */
import type { FioJob } from '../guest/fio.ts'
import { median } from './report.ts'

export const RESIDENT_PLACES = ['host', 'own', 'window'] as const
export type ResidentPlace = (typeof RESIDENT_PLACES)[number]

export interface ResidentSample {
  readonly where: ResidentPlace
  readonly job: string
  readonly bytesPerSecond: number
}

function job(rw: 'read' | 'randread', kib: number): FioJob {
  return { name: `${rw}, ${kib} KiB`, rw, engine: 'mmap', blockBytes: kib << 10 }
}

export const RESIDENT_JOBS: readonly FioJob[] = [job('read', 64), job('randread', 64), job('randread', 4)]

/** As much as fits into the guest's memory besides. */
export const RESIDENT_MIB = 256

/**
 * Without `invalidate=0` fio would drop the host's page cache of the file first. While it ramps up, each page is touched for the
 * first time in that mapping, which `npm run bench:window` is about.
 */
export const RESIDENT_GLOBAL: readonly string[] = ['invalidate=0', 'time_based=1', 'norandommap=1', 'ramp_time=4']

/** Medians, and what the window's are against the others'. */
export function residentTable(samples: readonly ResidentSample[]): string {
  const lines = [
    "| job | host, MiB/s | guest's own memory, MiB/s | window, MiB/s | window to host | window to own memory |",
    '| --- | ---: | ---: | ---: | ---: | ---: |',
  ]
  for (const { name } of RESIDENT_JOBS) {
    const speed = (where: ResidentPlace): number =>
      median(samples.filter((sample) => sample.job === name && sample.where === where).map((s) => s.bytesPerSecond))
    const speeds = RESIDENT_PLACES.map((where) => (speed(where) / 2 ** 20).toFixed(0))
    const ratios = (['host', 'own'] as const).map((where) => (speed('window') / speed(where)).toFixed(2))
    if (samples.some((sample) => sample.job === name)) lines.push(`| ${[name, ...speeds, ...ratios].join(' | ')} |`)
  }
  return `${lines.join('\n')}\n`
}
