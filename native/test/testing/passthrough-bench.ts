// SPDX-License-Identifier: Apache-2.0
/** A passthrough file system over a fresh directory, driven by FUSE messages as a guest would send them. */
import { mkdtempSync, openSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Errno } from '../../../server/errno.ts'
import { FuseInHeader, FuseInitFlag, FuseInitFlag2, FuseOpcode } from '../../../server/fuse/abi.ts'
import { FuseCounters } from '../../../server/fuse/counters.ts'
import { FuseServer } from '../../../server/operations/server.ts'
import { FuseSession } from '../../../server/fuse/session.ts'
import { BothPlanes } from '../../../server/fuse/testing/both-planes.ts'
import { FakeChannel, type FakeReply } from '../../../server/fuse/testing/fake-channel.ts'
import { FakeWindow } from '../../../server/fuse/testing/fake-window.ts'
import {
  type Attributes,
  decodeAttrOut,
  decodeEntry,
  decodeOpenOut,
  type DirectoryEntry,
  decodeDirectory,
  type Entry,
  requests,
} from '../../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../../server/passthrough/options.ts'
import { createSharedDirectory, PassthroughFileSystem } from '../../../server/passthrough/passthrough-file-system.ts'
import { deviceWindow, fileSystem as native } from '../../index.ts'
import { counts } from '../../testing/index.ts'

export const ROOT = 1

/** The error of a mapping that is not refused: in place of a memory view the bench has a file without the calls of one. */
export const MAPPED = Errno.ENOTTY
const VIEW = openSync('/dev/null', 'r+')

/** What a Linux guest with dax=always offers at FUSE_INIT. */
export const LINUX_INIT_FLAGS =
  FuseInitFlag.ASYNC_READ |
  FuseInitFlag.ATOMIC_O_TRUNC |
  FuseInitFlag.BIG_WRITES |
  FuseInitFlag.DONT_MASK |
  FuseInitFlag.AUTO_INVAL_DATA |
  FuseInitFlag.DO_READDIRPLUS |
  FuseInitFlag.READDIRPLUS_AUTO |
  FuseInitFlag.ASYNC_DIO |
  FuseInitFlag.WRITEBACK_CACHE |
  FuseInitFlag.PARALLEL_DIROPS |
  FuseInitFlag.POSIX_ACL |
  FuseInitFlag.MAX_PAGES |
  FuseInitFlag.CACHE_SYMLINKS |
  FuseInitFlag.MAP_ALIGNMENT |
  FuseInitFlag.SUBMOUNTS |
  FuseInitFlag.HANDLE_KILLPRIV_V2 |
  FuseInitFlag.SETXATTR_EXT |
  FuseInitFlag.INIT_EXT

export const LINUX_INIT_FLAGS2 = FuseInitFlag2.CREATE_SUPP_GROUP | FuseInitFlag2.SECURITY_CTX

/** A request that the server answered with an error. */
/** A name that does not exist is ENOENT to a guest's programs, also where the guest may keep that. */
function saysAbsent(message: Uint8Array, reply: FakeReply | null): boolean {
  if (reply === null || reply.error !== 0) return false
  const opcode = Buffer.from(message.buffer, message.byteOffset).readUInt32LE(FuseInHeader.opcode)
  return opcode === FuseOpcode.LOOKUP && decodeEntry(reply.body).nodeid === 0
}

export class FuseError extends Error {
  readonly errno: number

  constructor(errno: number) {
    super(`the server answered errno ${errno}`)
    this.errno = errno
  }
}

export class PassthroughBench implements Disposable {
  /** The shared directory's path. */
  readonly path: string
  readonly directory: number
  readonly fileSystem: PassthroughFileSystem
  readonly window = new FakeWindow(64 * 1024 * 1024)
  readonly session = new FuseSession(FuseSession.allocate())
  readonly server: FuseServer
  readonly #planes: BothPlanes
  readonly #channel = new FakeChannel()
  readonly #temporary: string | undefined

  /** @param where an existing directory, or none for a new one that `dispose` removes */
  constructor(options: Partial<PassthroughOptions> = {}, where?: string) {
    native.attachThread()
    this.#temporary = where === undefined ? mkdtempSync(path.join(os.tmpdir(), 'viewfsd-')) : undefined
    this.path = where ?? this.#temporary ?? ''
    this.directory = createSharedDirectory(this.path, options)
    deviceWindow.attachView(this.directory, VIEW)
    this.fileSystem = new PassthroughFileSystem(this.directory, this.session, options)
    const counters = new FuseCounters(FuseCounters.allocate())
    this.server = new FuseServer(this.fileSystem, this.window, this.session, counters)
    this.#planes = new BothPlanes(this.directory, this.server)
    this.send(requests.init({ flags: LINUX_INIT_FLAGS, flags2: LINUX_INIT_FLAGS2 }))
  }

  [Symbol.dispose](): void {
    this.fileSystem.reset()
    if (this.#temporary !== undefined) rmSync(this.#temporary, { recursive: true, force: true })
  }

  /** The path of something in the shared directory. */
  at(...names: string[]): string {
    return path.join(this.path, ...names)
  }

  /** @returns the reply; null where there is none */
  send(message: Uint8Array, replyCapacity = 1024 * 1024): FakeReply | null {
    this.#channel.load(message, replyCapacity)
    this.#planes.handle(this.#channel)
    if (this.#channel.completion === undefined) throw new Error('the request was not completed')
    return this.#channel.completion
  }

  /** @returns the error, 0 or positive */
  errno(message: Uint8Array, replyCapacity?: number): number {
    const reply = this.send(message, replyCapacity)
    return saysAbsent(message, reply) ? Errno.ENOENT : Math.abs(reply?.error ?? 0)
  }

  /** @throws FuseError */
  body(message: Uint8Array, replyCapacity?: number): Uint8Array {
    const reply = this.send(message, replyCapacity)
    if (reply === null) throw new Error('there was no reply')
    if (reply.error !== 0) throw new FuseError(-reply.error)
    if (saysAbsent(message, reply)) throw new FuseError(Errno.ENOENT)
    return reply.body
  }

  /** Requests that wait, and what they ended with. */
  get deferred(): ReadonlyMap<number, number | undefined> {
    return this.#channel.deferred
  }

  retryWaits(): void {
    this.server.retryWaits(this.#channel)
  }

  lookup(name: string | Uint8Array, parent = ROOT): Entry {
    return decodeEntry(this.body(requests.lookup(parent, name)))
  }

  /** An entry that a request for a new inode replies. */
  entry(message: Uint8Array): Entry {
    return decodeEntry(this.body(message))
  }

  attributes(message: Uint8Array): Attributes {
    return decodeAttrOut(this.body(message))
  }

  /** @returns the fh */
  open(nodeid: number, flags: number): number {
    return decodeOpenOut(this.body(requests.open(nodeid, flags))).fh
  }

  create(name: string, flags: number, mode = 0o644, parent = ROOT): Entry & { fh: number } {
    const body = this.body(requests.create(parent, name, flags, mode))
    return { ...decodeEntry(body), fh: decodeOpenOut(body, 128).fh }
  }

  /** All entries of a directory, in requests of `size` bytes. */
  readDirectory(nodeid: number, size = 4096, plus = false): DirectoryEntry[] {
    const { fh } = decodeOpenOut(this.body(requests.opendir(nodeid)))
    const entries: DirectoryEntry[] = []
    let offset = 0n
    for (;;) {
      const message = plus ? requests.readdirplus(nodeid, fh, offset, size) : requests.readdir(nodeid, fh, offset, size)
      const part = decodeDirectory(this.body(message, size + 16), plus)
      entries.push(...part)
      const last = part.at(-1)
      if (last === undefined) break
      offset = last.off
    }
    this.send(requests.releasedir(nodeid, fh))
    return entries
  }

  get inodes(): number {
    return counts.inodes(this.directory)
  }

  get handles(): number {
    return counts.handles(this.directory)
  }
}
