// SPDX-License-Identifier: Apache-2.0
/**
 * Builds a folder in stages. It grows as `<dir>.partial`; each finished stage leaves a stamp there, so that an
 * interrupted build goes on where it stopped, and the folder gets its name only when it is whole.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withLock } from './lock.ts'
import { step } from './progress.ts'

export interface Stage {
  readonly name: string
  /** Puts this stage's part into `dir`; may find leftovers of an interrupted run there. */
  readonly build: (dir: string) => Promise<void>
}

/** A short name for what a folder is built from; another input gives another folder. */
export function buildKey(...inputs: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 12)
}

/** The folder `dir`, whole; built first when it is not there yet. Safe to call from several processes at once. */
export async function buildInStages(dir: string, title: string, stages: readonly Stage[]): Promise<string> {
  if (existsSync(dir)) return dir
  return withLock(`${dir}.lock`, async () => {
    if (existsSync(dir)) return dir
    const partial = `${dir}.partial`
    const stamps = join(partial, '.stages')
    mkdirSync(stamps, { recursive: true })
    for (const [index, stage] of stages.entries()) {
      const stamp = join(stamps, stage.name)
      if (existsSync(stamp)) continue
      await step(`${title} (${index + 1}/${stages.length}): ${stage.name}`, () => stage.build(partial))
      writeFileSync(stamp, '')
    }
    renameSync(partial, dir)
    return dir
  })
}
