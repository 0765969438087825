// SPDX-License-Identifier: Apache-2.0
/** Saves the device's state into the frontend's pipe, or loads it from there, while the device is stopped. */
import { closeSync } from 'node:fs'
import { type LostPart, restoreDirectory, saveDirectory } from '../../native/index.ts'
import { errnoName } from '../errno.ts'
import { FuseSession } from '../fuse/session.ts'
import type { Logger } from '../log.ts'
import type { PassthroughFileSystem } from '../passthrough/passthrough-file-system.ts'
import type { StateTransfer } from '../vhost-user/backend-request-handler.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import { decodeState, type DeviceState, encodeState, type StateSession } from './device-state.ts'
import { readState, writeState } from './pipe.ts'
import { toDirectory, toState } from './restore.ts'
import { refuseSession, sessionFromVirtiofsd } from './session.ts'

export interface MigrationOptions {
  readonly mode: 'find-paths' | 'file-handles'
  /** What happens where an inode or an open file can't be had again. */
  readonly onError: 'abort' | 'guest-error'
  /** With paths: the handle goes along, and has to be the same. */
  readonly verifyHandles: boolean
}

/** Where a guest is, as this process has it. */
export interface Moved {
  readonly device: VirtioDevice
  readonly fileSystem: PassthroughFileSystem
  readonly session: SharedArrayBuffer
}

/** Named in the log. */
const MOST_NAMED = 5

export class DeviceStateTransfer implements StateTransfer {
  readonly #moved: Moved
  readonly #options: MigrationOptions
  readonly #log: Logger
  #running: Promise<boolean> = Promise.resolve(false)

  constructor(moved: Moved, options: MigrationOptions, log: Logger) {
    this.#moved = moved
    this.#options = options
    this.#log = log
  }

  begin(load: boolean, fd: number): boolean {
    const before = this.#running
    if (this.#moved.device.runningQueues > 0) {
      closeSync(fd)
      this.#log.error({ event: 'state-failed' }, 'the state of a device can only be moved while it is stopped')
      return false
    }
    this.#running = before.then(() => this.#attempt(load, fd))
    return true
  }

  result(): Promise<boolean> {
    const result = this.#running
    this.#running = Promise.resolve(false)
    return result
  }

  async #attempt(load: boolean, fd: number): Promise<boolean> {
    try {
      await (load ? this.#load(fd) : this.#save(fd))
      return true
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      const what = load ? 'loaded' : 'saved'
      this.#log.error({ event: 'state-failed' }, `the state of the device can't be ${what}: ${reason}`)
      return false
    }
  }

  async #save(fd: number): Promise<void> {
    const { device, fileSystem } = this.#moved
    const began = performance.now()
    const paths = this.#options.mode === 'find-paths'
    let bytes: Buffer
    let inodes: DeviceState['inodes']
    try {
      const saved = await saveDirectory(fileSystem.directory, device.control.id, paths, this.#options.verifyHandles)
      if (saved.writeError !== 0)
        throw new Error(
          `what the guest has written to open files can't be written out (${errnoName(saved.writeError)})`,
        )
      if (saved.searched > 0) {
        this.#log.info(
          { event: 'state-searched' },
          `${saved.searched} inodes were found by looking through the whole share: --migration-mode=file-handles needs no paths`,
        )
      }
      const state = toState(saved, this.#session(saved.generation))
      inodes = state.inodes
      bytes = encodeState(state)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    await writeState(fd, bytes)
    const lost = inodes.filter(({ location }) => location.kind === 'lost').length
    this.#log.info(
      { event: 'state-saved' },
      `the state of the device is saved: ${bytes.length} bytes for ${inodes.length} inodes, ${lost} of which can't be found again, in ${elapsed(began)} ms`,
    )
  }

  #session(generation: number): StateSession | null {
    const session = new FuseSession(this.#moved.session)
    if (!session.initialized) return null
    if (session.hasWindow) throw new Error('the guest has a DAX window: it has to unmount first')
    return { minor: session.minor, flags: session.flags, flags2: session.flags2, generation }
  }

  async #load(fd: number): Promise<void> {
    const { device, fileSystem } = this.#moved
    const state = decodeState(await readState(fd))
    const began = performance.now()
    const offered = fileSystem.offered()
    const session = state.session === undefined ? this.#ofVirtiofsd(state) : state.session
    const refused = session === null ? undefined : refuseSession(session, offered)
    if (refused !== undefined) throw new Error(refused)
    const takesHandles = this.#options.mode === 'file-handles'
    const directory = toDirectory(state, session?.generation ?? 0, takesHandles)
    this.#forget()
    const ended = new FuseSession(this.#moved.session).clear()
    const lost = await restoreDirectory(fileSystem.directory, device.control.id, directory)
    const missing = lost.inodes.length + lost.handles.length
    if (missing > 0) this.#tellLost(lost.inodes, lost.handles)
    if (missing > 0 && this.#options.onError === 'abort') {
      this.#forget()
      throw new Error(`${missing} inodes and open files can't be had again: see --migration-on-error`)
    }
    if (session !== null) {
      const { minor, flags, flags2 } = session
      new FuseSession(this.#moved.session).start(ended, minor, flags, flags2, false, false)
      fileSystem.begin(flags, 0)
    }
    this.#log.info(
      { event: 'state-loaded' },
      `the state of the device is loaded: ${directory.inodes.length} inodes, ${directory.handles.length} open files and directories, in ${elapsed(began)} ms`,
    )
  }

  /** A guest of a virtiofsd has mounted where it knows an inode. */
  #ofVirtiofsd(state: DeviceState): StateSession | null {
    if (state.inodes.length === 0) return null
    return sessionFromVirtiofsd(state.options, this.#moved.fileSystem.offered())
  }

  #forget(): void {
    this.#moved.fileSystem.reset()
    new FuseSession(this.#moved.session).clear()
  }

  #tellLost(inodes: readonly LostPart[], handles: readonly LostPart[]): void {
    const named = [...inodes.map(describe('inode')), ...handles.map(describe('open file'))].slice(0, MOST_NAMED)
    const more = inodes.length + handles.length - named.length
    this.#log.warn(
      { event: 'state-lost' },
      `not found again: ${named.join(', ')}${more > 0 ? `, and ${more} more` : ''}`,
    )
  }
}

function describe(what: string): (part: LostPart) => string {
  return ({ id, errno }) => `${what} ${id} (${errnoName(errno)})`
}

function elapsed(began: number): number {
  return Math.round(performance.now() - began)
}
