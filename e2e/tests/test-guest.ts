// SPDX-License-Identifier: Apache-2.0
/** A guest for tests: its root on Rust virtiofsd, and the daemon under test beside it, so that neither hides the other. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Counters, type FsDaemon, startVirtiofsd, startViewfsd, type Viewfsd } from '../guest/daemon.ts'
import { type FileSystemDevice, Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import type { Rig } from './session.ts'

export interface TestGuestOptions {
  /** Shared as tag `data`. */
  readonly sharedDir: string
  readonly daemonArgs?: string[]
  /** The QEMU device of the daemon under test. */
  readonly kind?: 'generic' | 'fs'
  readonly memoryMiB?: number
}

let guestCounter = 0

export class TestGuest {
  #daemon: Viewfsd
  readonly #rig: Rig
  readonly #name: string
  readonly #options: TestGuestOptions
  readonly #root: string
  #rootDaemon: FsDaemon
  #guest: Guest
  #moves = 0

  private constructor(rig: Rig, name: string, options: TestGuestOptions, root: string, daemon: Viewfsd, parts: Parts) {
    this.#rig = rig
    this.#name = name
    this.#options = options
    this.#root = root
    this.#daemon = daemon
    this.#rootDaemon = parts.rootDaemon
    this.#guest = parts.guest
  }

  /** Starts both daemons and boots the guest; `/mnt` is not mounted yet. */
  static async boot(rig: Rig, options: TestGuestOptions): Promise<TestGuest> {
    const name = `guest${++guestCounter}`
    const log = join(rig.run, name)
    mkdirSync(log, { recursive: true })
    const root = makeGuestRoot(join('/run', name))
    const daemon = await startViewfsd(log, 'data', options.sharedDir, ['--xattr', ...(options.daemonArgs ?? [])])
    return new TestGuest(rig, name, options, root, daemon, await bootOn(rig, name, root, daemon, options))
  }

  get daemon(): Viewfsd {
    return this.#daemon
  }

  get guest(): Guest {
    return this.#guest
  }

  mount(flags = 'dax=always'): Promise<string> {
    return this.guest.must(`mount -t virtiofs -o ${flags} data /mnt`)
  }

  counters(): Promise<Counters> {
    return this.daemon.counters()
  }

  /** Moves the guest to another QEMU, with daemons of its own; the old ones end. */
  async move(daemonArgs: readonly string[], how: Move): Promise<void> {
    const [old, oldDaemons] = [this.#guest, [this.#daemon, this.#rootDaemon]]
    const leave = async (): Promise<void> => {
      await old.kill()
      for (const daemon of oldDaemons) await daemon.end()
    }
    await how.before?.(old)
    if (how.before !== undefined) await leave()
    const name = `${this.#name}-${++this.#moves}`
    const log = join(this.#rig.run, name)
    const args = ['--xattr', ...daemonArgs]
    const daemon = await startViewfsd(log, 'data', this.#options.sharedDir, args)
    const rootDaemon = await startVirtiofsd(join('/run', name), 'root', this.#root, ['--cache=always'])
    const devices = devicesOn(rootDaemon, daemon, this.#options)
    this.#guest = await Guest.receive(old, { dir: log, devices })
    this.#daemon = daemon
    this.#rootDaemon = rootDaemon
    await how.move(old, this.#guest)
    if (how.before === undefined) await leave()
  }

  /** Ends QEMU as a crash would. */
  async killGuest(): Promise<void> {
    await this.#guest.kill()
    await this.#rootDaemon.end()
  }

  /** Boots another guest on the same daemon. */
  async bootAgain(): Promise<void> {
    const parts = await bootOn(this.#rig, this.#name, this.#root, this.daemon, this.#options)
    this.#rootDaemon = parts.rootDaemon
    this.#guest = parts.guest
  }

  /** Ends what still runs, however it may be. */
  async destroy(): Promise<void> {
    if (this.#guest.process.exitCode === null && this.#guest.process.signalCode === null) await this.#guest.kill()
    await this.daemon.end()
    await this.#rootDaemon.end()
  }
}

/** How a guest gets from one QEMU to another. */
export interface Move {
  /** With it the old QEMU and its daemons have ended before the new ones start. */
  readonly before?: (old: Guest) => Promise<void>
  /** `to` waits for the guest. */
  readonly move: (old: Guest, to: Guest) => Promise<void>
}

function devicesOn(root: FsDaemon, daemon: FsDaemon, options: TestGuestOptions): FileSystemDevice[] {
  return [
    { socketPath: root.socketPath, kind: 'fs', tag: 'root' },
    { socketPath: daemon.socketPath, kind: options.kind ?? 'generic', tag: 'data' },
  ]
}

interface Parts {
  readonly rootDaemon: FsDaemon
  readonly guest: Guest
}

async function bootOn(
  rig: Rig,
  name: string,
  root: string,
  daemon: Viewfsd,
  options: TestGuestOptions,
): Promise<Parts> {
  const rootDaemon = await startVirtiofsd(join('/run', name), 'root', root, ['--cache=always'])
  const guest = await Guest.boot({
    dir: join(rig.run, name),
    kernelImage: rig.guestKernel,
    devices: devicesOn(rootDaemon, daemon, options),
    memoryMiB: options.memoryMiB ?? 1024,
  })
  return { rootDaemon, guest }
}
