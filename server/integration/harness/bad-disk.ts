// SPDX-License-Identifier: Apache-2.0
/** A misbehaving file system as shared directory, gone when the test ends. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { MisbehavingFs } from '../misbehaving-fs.ts'
import { makeScratch, removeScratch } from './daemon.ts'

/** Call it before the daemon is started: what comes last is cleaned up first. */
export async function mountBadDisk(): Promise<MisbehavingFs> {
  const directory = makeScratch()
  const backing = join(directory, 'backing')
  const mountPoint = join(directory, 'mount')
  mkdirSync(backing)
  mkdirSync(mountPoint)
  const disk = await MisbehavingFs.mount(backing, mountPoint)
  onTestFinished(async () => {
    await disk.unmount()
    removeScratch(directory)
  })
  return disk
}
