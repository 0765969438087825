// SPDX-License-Identifier: Apache-2.0
/** Mounts that a test makes, and takes away again however it ends. */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Without the sanitizer that the tests themselves may be preloaded with. */
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
}

export class Mounts implements Disposable {
  /** A folder for what lies behind the mounts. */
  readonly scratch: string = mkdtempSync(path.join(tmpdir(), 'viewfsd-mounts-'))
  readonly #points: string[] = []

  /** `mount ...options mountPoint`; the mount point is made where it is not there. */
  mount(mountPoint: string, ...options: string[]): void {
    mkdirSync(mountPoint, { recursive: true })
    run('mount', ...options, mountPoint)
    this.#points.push(mountPoint)
  }

  tmpfs(mountPoint: string): void {
    this.mount(mountPoint, '-t', 'tmpfs', 'viewfsd-test')
  }

  /** A file mounted on a file. */
  bindFile(source: string, mountPoint: string): void {
    writeFileSync(mountPoint, '')
    run('mount', '--bind', source, mountPoint)
    this.#points.push(mountPoint)
  }

  /** A new file system on a loop device, with mkfs.TYPE. */
  disk(mountPoint: string, type: string, sizeBytes: number): void {
    const image = path.join(this.scratch, `image-${this.#points.length}`)
    const file = openSync(image, 'w')
    ftruncateSync(file, sizeBytes)
    closeSync(file)
    run(`mkfs.${type}`, '-q', image)
    this.mount(mountPoint, '-o', 'loop', image)
  }

  /** @throws where the mount is busy */
  unmount(mountPoint: string): void {
    run('umount', mountPoint)
    this.#points.splice(this.#points.indexOf(mountPoint), 1)
  }

  [Symbol.dispose](): void {
    for (const point of this.#points.toReversed()) spawnSync('umount', ['-l', point], { env })
    rmSync(this.scratch, { recursive: true, force: true })
  }
}
