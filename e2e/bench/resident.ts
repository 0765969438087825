// SPDX-License-Identifier: Apache-2.0
/** Reads of a file that is resident: the guest's, through the window, beside the same program's on the host. */
import type { FioJob } from '../guest/fio.ts'
import { median } from './report.ts'

export interface ResidentSample {
  readonly where: 'host' | 'guest'
  readonly job: string
  readonly bytesPerSecond: number
}

export const RESIDENT_JOBS: readonly FioJob[] = (['read', 'randread'] as const).flatMap((rw) =>
  [4, 64].map((kib) => ({ name: `${rw}, ${kib} KiB`, rw, engine: 'mmap' as const, blockBytes: kib << 10 })),
)

/**
 * Without `invalidate=0` fio would drop the host's page cache of the file first. While it ramps up, each page is touched for the
 * first time in that mapping, which `npm run bench:window` is about.
 */
export const RESIDENT_GLOBAL: readonly string[] = ['invalidate=0', 'time_based=1', 'norandommap=1', 'ramp_time=4']

/** Medians, and the ratio of the guest's to the host's. */
export function residentTable(samples: readonly ResidentSample[]): string {
  const lines = ['| job | host, MiB/s | guest, MiB/s | ratio |', '| --- | ---: | ---: | ---: |']
  for (const { name } of RESIDENT_JOBS) {
    const [host, guest] = (['host', 'guest'] as const).map((where) =>
      median(samples.filter((sample) => sample.job === name && sample.where === where).map((s) => s.bytesPerSecond)),
    )
    if (host === undefined || guest === undefined) continue
    lines.push(
      `| ${name} | ${(host / 2 ** 20).toFixed(0)} | ${(guest / 2 ** 20).toFixed(0)} | ${(guest / host).toFixed(2)} |`,
    )
  }
  return `${lines.join('\n')}\n`
}
