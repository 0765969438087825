// SPDX-License-Identifier: Apache-2.0
/**
 * What `npm run bench:guest` measures: the job list of the published virtiofs tests (4 KiB blocks, depth 16,
 * direct=1) at a size that fits the rig, and the window-size sweep.
 */
import type { FioJob } from '../guest/fio.ts'

/** The daemons and windows that are compared, in the order of the table. */
export const COLUMNS = ['memory-view', 'shmem', 'no-window', 'virtiofsd'] as const
export type Column = (typeof COLUMNS)[number]

/** The column that every ratio is taken against: Rust virtiofsd. */
export const BASELINE: Column = 'virtiofsd'

/** What can be measured: the matrix, the window's size, whose time a miss is, and reads of what is resident beside the host's own. */
export const PARTS = ['matrix', 'sweep', 'time', 'resident'] as const
export type Part = (typeof PARTS)[number]

/** The columns that have a window, and so a size of it to vary. */
export const WINDOW_COLUMNS = ['memory-view', 'shmem'] as const satisfies readonly Column[]

export function hasWindow(column: Column): boolean {
  return WINDOW_COLUMNS.some((name) => name === column)
}

export const PATTERNS = ['seqread', 'randread', 'seqwrite', 'randwrite'] as const
export type Pattern = (typeof PATTERNS)[number]

export const ENGINES = ['psync', 'mmap', 'libaio'] as const
export type Engine = (typeof ENGINES)[number]

/** Window sizes of the sweep, as fractions of the file's size. */
export const SWEEP_FRACTIONS = [0.25, 0.5, 1, 2] as const
/** The job of the sweep. */
export const SWEEP = { pattern: 'randread', engine: 'mmap' } as const

const RW: Record<Pattern, FioJob['rw']> = {
  seqread: 'read',
  randread: 'randread',
  seqwrite: 'write',
  randwrite: 'randwrite',
}

/** The published job of a pattern and an engine. */
export function fioJob(pattern: Pattern, engine: Engine): FioJob {
  return { name: `${pattern}-${engine}`, rw: RW[pattern], engine, blockBytes: 4096, iodepth: 16 }
}

/** What the published jobs have in common; each begins with the guest's caches, and with them its mappings, dropped. */
export const FIO_GLOBAL: readonly string[] = ['direct=1', 'exec_prerun=sync; echo 3 >/proc/sys/vm/drop_caches']
