// SPDX-License-Identifier: Apache-2.0
/** A directory that is shared with this kernel's own FUSE client, for the length of a test. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import type { PassthroughOptions } from '../../passthrough/options.ts'
import { makeScratch, removeScratch } from './daemon.ts'

const PROGRAM = path.resolve(import.meta.dirname, '../../../dist/server/fuse/testing/dev-fuse-server.js')

/** @returns where it is mounted */
export async function mountForClient(
  share: string,
  options: Partial<PassthroughOptions> = {},
  threads = 1,
): Promise<string> {
  const scratch = makeScratch()
  const mountPoint = path.join(scratch, 'mount')
  mkdirSync(mountPoint)
  const server = spawn(process.execPath, [PROGRAM, share, mountPoint, JSON.stringify(options), String(threads)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(server, 'exit')
  onTestFinished(async () => {
    spawnSync('umount', ['--lazy', mountPoint])
    // A mount namespace that somebody made meanwhile may keep the mount, and so the server.
    server.kill('SIGKILL')
    await exited
    removeScratch(scratch)
  })
  const [line] = await Promise.race([once(server.stdout, 'data'), exited.then(() => ['the server has not started'])])
  if (!String(line).startsWith('ready')) throw new Error(String(line))
  return mountPoint
}

/** Lets the kernel forget every inode and name that nobody uses. */
export function dropInodeCache(): void {
  execFileSync('sh', ['-c', 'echo 2 >/proc/sys/vm/drop_caches'])
}
