// SPDX-License-Identifier: Apache-2.0
/** A directory shared through this kernel's own FUSE client, gone when the test ends. Needs root, /dev/fuse and dist/. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { onTestFinished } from 'vitest'
import type { FuseCounts } from '../../fuse/counters.ts'
import type { PassthroughOptions } from '../../passthrough/options.ts'
import { makeScratch, removeScratch } from './daemon.ts'

/** Node's arguments for a server of /dev/fuse; what to share and where to mount it follow. */
export const DEV_FUSE_SERVER: readonly string[] = [
  '--conditions=testing',
  resolve(import.meta.dirname, '../../../dist/server/fuse/testing/dev-fuse-server.js'),
]

export class DevFuse {
  /** The shared directory, as the host sees it. */
  readonly share: string
  /** The same, as a guest would see it. */
  readonly mountPoint: string
  readonly #process: ChildProcess
  readonly #lines: Interface

  private constructor(share: string, mountPoint: string, process: ChildProcess, lines: Interface) {
    this.share = share
    this.mountPoint = mountPoint
    this.#process = process
    this.#lines = lines
  }

  /** @param share an existing directory, or none for a new one */
  static async mount(options: Partial<PassthroughOptions>, share?: string, threads = 2): Promise<DevFuse> {
    const scratch = makeScratch()
    const mountPoint = join(scratch, 'mount')
    const shared = share ?? join(scratch, 'share')
    mkdirSync(mountPoint)
    if (share === undefined) mkdirSync(shared)
    const server = spawn(
      process.execPath,
      [...DEV_FUSE_SERVER, shared, mountPoint, JSON.stringify(options), String(threads)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const exited = once(server, 'exit')
    onTestFinished(async () => {
      spawnSync('umount', ['--lazy', mountPoint])
      // A mount namespace that somebody made meanwhile may keep the mount, and so the server.
      server.kill('SIGKILL')
      await exited
      removeScratch(scratch)
    })
    const lines = createInterface(server.stdout)
    const [line] = await Promise.race([once(lines, 'line'), exited.then(() => ['it has not started'])])
    if (!String(line).startsWith('ready')) throw new Error(String(line))
    return new DevFuse(shared, mountPoint, server, lines)
  }

  /** On the host. */
  host(...names: string[]): string {
    return join(this.share, ...names)
  }

  /** In the guest. */
  guest(...names: string[]): string {
    return join(this.mountPoint, ...names)
  }

  /** Requests so far, by the opcode's name. */
  async requests(): Promise<Readonly<Record<string, number>>> {
    const line = once(this.#lines, 'line')
    this.#process.kill('SIGUSR1')
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own program's
    return (JSON.parse(String((await line)[0])) as FuseCounts).requests
  }
}
