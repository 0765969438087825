// SPDX-License-Identifier: Apache-2.0
/** In the nested host: the file that fio works on, and a guest that has it through one of the columns. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type FsDaemon, startVirtiofsd, startViewfsd } from '../guest/daemon.ts'
import { bootContender, type Contender, endContender, takeTurn } from './contender.ts'
import { type Column, hasWindow, type Part } from './matrix.ts'

export const MIB = 1 << 20
const SHARE = '/data/bench'
const FILE_NAME = 'fio-file1'
/** In the nested host. */
export const HOST_FILE = join(SHARE, FILE_NAME)
/** In the guest. */
export const FILE = `/mnt/${FILE_NAME}`

/** What bench-guest.ts asks for. */
export interface BenchOptions {
  readonly fileMiB: number
  /** At most this long a job. */
  readonly seconds: number
  readonly runs: number
  readonly columns: readonly Column[]
  readonly parts: readonly Part[]
}

/** What viewfsd gets besides what its column says. */
export interface Special {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

function windowArgs(column: Column, windowMiB: number): string[] {
  return column === 'no-window' ? ['--window=none'] : [`--window=${column}`, `--window-size=${windowMiB}M`]
}

/** Boots a guest that has the file below /mnt, and stands still but for its turns. */
export async function bootFioGuest(
  column: Column,
  windowMiB: number,
  special: Special = { args: [], env: {} },
): Promise<Contender<Column>> {
  const name = `${column}-${windowMiB}`
  const dir = `/out/bench/${name}`
  mkdirSync(dir, { recursive: true })
  const args = [...windowArgs(column, windowMiB), ...special.args]
  const start = (): Promise<FsDaemon> =>
    column === 'virtiofsd' ? startVirtiofsd(dir, 'data', SHARE) : startViewfsd(dir, 'data', SHARE, args, special.env)
  // What a user would take: without a window the generic device only costs, for it has one interrupt for all (INTx).
  return bootContender(
    column,
    name,
    dir,
    { kind: hasWindow(column) ? 'generic' : 'fs', start },
    `mount -t virtiofs ${hasWindow(column) ? '-o dax=always' : ''} data /mnt`,
  )
}

/** What `work` tells of a guest that lives as long as it. */
export async function withFioGuest<Result>(
  column: Column,
  windowMiB: number,
  work: (contender: Contender<Column>) => Promise<Result>,
  special?: Special,
): Promise<Result> {
  const contender = await bootFioGuest(column, windowMiB, special)
  const result = await takeTurn(contender, () => work(contender))
  await endContender(contender)
  return result
}

/** In MiB: enough for the whole file with what Linux keeps free. */
export function roomyWindow({ fileMiB }: BenchOptions): number {
  return Math.max(128, 2 * fileMiB)
}

/** Makes HOST_FILE, of whole pieces of 4 MiB. */
export function makeFile(sizeMiB: number): void {
  mkdirSync(SHARE)
  // A file system with large folios makes them of what is written at a time.
  const pieceMiB = 4
  const piece = Buffer.alloc(pieceMiB * MIB, 'viewfsd bench data ')
  const fd = openSync(HOST_FILE, 'w')
  for (let index = 0; index < sizeMiB; index += pieceMiB) {
    piece.writeUInt32LE(index, 0)
    writeSync(fd, piece)
  }
  closeSync(fd)
}
