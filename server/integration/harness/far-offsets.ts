// SPDX-License-Identifier: Apache-2.0
/** A directory whose offsets are all 2^63 and above, gone when the test ends. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { makeScratch, removeScratch } from './daemon.ts'
import { DEV_FUSE_SERVER } from './dev-fuse.ts'

/**
 * Call it before the daemon is started: what comes last is cleaned up first.
 * @returns the directory behind it and where it is mounted
 */
export async function mountFarOffsets(): Promise<{ backing: string; mountPoint: string }> {
  const directory = makeScratch()
  const [backing, mountPoint] = [path.join(directory, 'backing'), path.join(directory, 'mount')]
  mkdirSync(backing)
  mkdirSync(mountPoint)
  const server = spawn(process.execPath, [...DEV_FUSE_SERVER, backing, mountPoint, '{}', '1', 'far-offsets'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(async () => {
    const exited = once(server, 'exit')
    execFileSync('umount', ['-l', mountPoint])
    server.kill('SIGKILL')
    await exited
    removeScratch(directory)
  })
  const [line] = await Promise.race([
    once(server.stdout, 'data'),
    once(server, 'exit').then(() => ['the server has not started']),
  ])
  if (!String(line).startsWith('ready')) throw new Error(String(line))
  return { backing, mountPoint }
}
