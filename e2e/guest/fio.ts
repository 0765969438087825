// SPDX-License-Identifier: Apache-2.0
/** fio in a guest: one process for a list of jobs, one after the other, since starting it costs more than a short job. */
import type { Guest } from './guest.ts'

export interface FioJob {
  readonly name: string
  readonly rw: 'read' | 'randread' | 'write' | 'randwrite'
  readonly engine: 'psync' | 'mmap' | 'libaio'
  readonly blockBytes: number
  readonly iodepth?: number
}

export interface FioRun {
  readonly file: string
  readonly sizeBytes: number
  /** Each job runs for this time at most. */
  readonly seconds: number
  readonly jobs: readonly FioJob[]
  /** More lines of fio's [global] section: what the jobs have in common. */
  readonly global: readonly string[]
}

export interface FioResult {
  readonly name: string
  readonly rw: FioJob['rw']
  readonly engine: FioJob['engine']
  readonly bytesPerSecond: number
  readonly iops: number
  /** Mean completion latency. */
  readonly latencyMicroseconds: number
}

function jobFile(run: FioRun): string {
  const lines = ['[global]', `filename=${run.file}`, `size=${run.sizeBytes}`, `runtime=${run.seconds}`]
  lines.push('randrepeat=1', 'stonewall', 'allow_file_create=0', 'fallocate=none', ...run.global)
  for (const [index, job] of run.jobs.entries()) {
    lines.push(
      `[job${index}]`,
      `rw=${job.rw}`,
      `bs=${job.blockBytes}`,
      `ioengine=${job.engine}`,
      `iodepth=${job.iodepth ?? 1}`,
    )
  }
  return `${lines.join('\n')}\n`
}

function field(value: unknown, ...path: (string | number)[]): unknown {
  let at: unknown = value
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return undefined
    at = Object.entries(at).find(([name]) => name === String(key))?.[1]
  }
  return at
}

/**
 * Takes fio's JSON apart; warnings before it are skipped.
 * @throws Error where there is none, or a job failed or moved no data
 */
export function parseFio(output: string, jobs: readonly FioJob[]): FioResult[] {
  // Whatever else prints a brace, the document begins with one on a line of its own.
  const start = output.search(/^\{/m)
  if (start < 0) throw new Error(`fio printed no JSON document: ${output.slice(0, 500)}`)
  const report: unknown = JSON.parse(output.slice(start, output.lastIndexOf('}') + 1))
  return jobs.map((job, index) => {
    const direction = job.rw.includes('read') ? 'read' : 'write'
    const number = (...path: string[]) => Number(field(report, 'jobs', index, direction, ...path) ?? Number.NaN)
    const error = Number(field(report, 'jobs', index, 'error') ?? -1)
    if (error !== 0) throw new Error(`fio: job "${job.name}" failed with error ${error}`)
    if (!(number('bw_bytes') > 0)) throw new Error(`fio: job "${job.name}" moved no data`)
    return {
      name: job.name,
      rw: job.rw,
      engine: job.engine,
      bytesPerSecond: number('bw_bytes'),
      iops: number('iops'),
      latencyMicroseconds: number('clat_ns', 'mean') / 1000,
    }
  })
}

/** Where fio runs: a guest, or what runs scripts like one. */
export type FioPlace = Pick<Guest, 'must'>

/** Runs the jobs one after the other; throws when fio or one of them fails. */
export async function runFio(place: FioPlace, run: FioRun): Promise<FioResult[]> {
  const script = `cat >/tmp/jobs.fio <<'VIEWFSD-END'\n${jobFile(run)}VIEWFSD-END\nfio --output-format=json /tmp/jobs.fio`
  const output = await place.must(script, 300_000 + run.jobs.length * run.seconds * 20_000)
  return parseFio(output, run.jobs)
}
