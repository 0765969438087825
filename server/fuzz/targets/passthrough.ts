// SPDX-License-Identifier: Apache-2.0
/**
 * The FUSE server over the passthrough file system and a real directory. Beside the directory lies another one that must
 * stay as it is; at the end of a program the tables are empty, and the process has as many descriptors as before.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileSystem as native } from '../../../native/index.ts'
import { counts } from '../../../native/testing/index.ts'
import { FuseCounters } from '../../fuse/counters.ts'
import { FuseSession } from '../../fuse/session.ts'
import { BothPlanes } from '../../fuse/testing/both-planes.ts'
import { FakeChannel } from '../../fuse/testing/fake-channel.ts'
import { FakeWindow } from '../../fuse/testing/fake-window.ts'
import { requests } from '../../fuse/testing/messages.ts'
import { FuseServer } from '../../operations/server.ts'
import type { PassthroughOptions } from '../../passthrough/options.ts'
import { createSharedDirectory, PassthroughFileSystem } from '../../passthrough/passthrough-file-system.ts'
import { splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'
import { type Known, nextRequest } from './fuse-grammar.ts'
import { removeChildren } from './remove-children.ts'
import { serve } from './serve.ts'

const VARIANTS: readonly Partial<PassthroughOptions>[] = [
  {},
  { readOnly: true },
  { cache: 'never', killprivV2: true, posixAcl: 'auto' },
  { cache: 'always', writeback: true, posixLocks: true, flocks: true },
  { xattrMap: ':map::user.virtiofsd.:', securityLabel: 'auto', killprivV2: true },
  {
    translateUid: [{ kind: 'map', from: 1000, to: 2000, count: 1 }],
    translateGid: [{ kind: 'forbid-guest', from: 1000, to: 0, count: 1 }],
    inodeFileHandles: 'never',
    inodeLimit: 6,
  },
  { allowDirectIo: true, preserveNoatime: true, announceSubmounts: false, readdirplus: false, posixLocks: true },
  { cache: 'metadata', daxPolicy: { enabled: true, minSizeBytes: 1, minAgeSeconds: 0 }, xattr: false },
]

interface Instance {
  readonly directory: number
  readonly server: FuseServer
  readonly planes: BothPlanes
  readonly session: FuseSession
}

export class PassthroughTarget implements Target {
  readonly name = 'passthrough'
  readonly #scratch = fs.mkdtempSync(path.join(process.env['VIEWFSD_TEST_DIR'] ?? os.tmpdir(), 'viewfsd-fuzz-'))
  readonly #share = path.join(this.#scratch, 'share')
  readonly #channel = new FakeChannel(256 * 1024)
  readonly #instances: Instance[]
  readonly #outside: string
  readonly #inodes: ReadonlySet<number>
  #descriptors: number | undefined

  constructor() {
    native.attachThread()
    fs.mkdirSync(this.#share)
    fs.mkdirSync(path.join(this.#scratch, 'outside'))
    fs.writeFileSync(path.join(this.#scratch, 'outside', 'secret'), 'secret')
    this.#outside = this.#describeOutside()
    const inode = (...names: string[]): number => fs.statSync(path.join(this.#scratch, ...names)).ino
    this.#inodes = new Set([inode(), inode('..'), inode('outside'), inode('outside', 'secret')])
    this.#instances = VARIANTS.map((options) => {
      const session = new FuseSession(FuseSession.allocate())
      const directory = createSharedDirectory(this.#share, { descriptorLimit: 0, ...options })
      const fileSystem = new PassthroughFileSystem(directory, session, options)
      const counters = new FuseCounters(FuseCounters.allocate())
      const server = new FuseServer(fileSystem, new FakeWindow(64 << 20), session, counters)
      return { directory, session, server, planes: new BothPlanes(directory, server) }
    })
  }

  covers(url: string): boolean {
    return /\/server\/(fuse|operations|passthrough)\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    const { head, steps } = splitProgram(program)
    const variant = head.below(VARIANTS.length)
    const instance = this.#instances[variant]
    if (instance === undefined) throw new Error('no such variant')
    const { server, planes, directory } = instance
    this.#fill()
    this.#channel.deferred.clear()
    const known: Known = { nodeids: [1], handles: [], outside: this.#inodes }
    this.#send(server, requests.init({ flags: -1, flags2: head.byte() < 200 ? -1 : 0, minor: 46 }))
    const outcomes: number[] = []
    for (const step of steps) {
      outcomes.push(serve(planes, this.#channel, nextRequest(step, known), known))
      server.retryWaits(this.#channel)
    }
    this.#send(server, requests.destroy())
    this.#check(directory)
    return Promise.resolve(outcomes)
  }

  close(): Promise<void> {
    removeChildren(this.#share)
    fs.rmSync(this.#scratch, { recursive: true })
    return Promise.resolve()
  }

  #send(server: FuseServer, message: Uint8Array): void {
    this.#channel.load(message, 4096)
    server.handle(this.#channel)
    // Whatever waits for a lock gets it once nobody holds any.
    server.retryWaits(this.#channel)
  }

  #check(directory: number): void {
    const [inodes, handles] = [counts.inodes(directory), counts.handles(directory)]
    if (inodes !== 1 || handles !== 0) throw new Error(`${inodes} inodes and ${handles} handles after DESTROY`)
    const outside = this.#describeOutside()
    if (outside !== this.#outside) throw new Error(`outside of the directory something has changed: ${outside}`)
    const descriptors = fs.readdirSync('/proc/self/fd').length
    this.#descriptors ??= descriptors
    if (descriptors !== this.#descriptors) throw new Error(`${descriptors} descriptors, not ${this.#descriptors}`)
    if (process.geteuid?.() !== 0 || process.getegid?.() !== 0) throw new Error('the thread is somebody else now')
  }

  #describeOutside(): string {
    const directory = path.join(this.#scratch, 'outside')
    const secret = path.join(directory, 'secret')
    const { mode, uid, gid, nlink, ctimeMs, mtimeMs } = fs.statSync(secret)
    const names = [fs.readdirSync(this.#scratch), fs.readdirSync(directory), fs.statSync(directory).ctimeMs]
    return JSON.stringify([names, mode, uid, gid, nlink, ctimeMs, mtimeMs, fs.readFileSync(secret, 'utf8')])
  }

  #fill(): void {
    removeChildren(this.#share)
    const at = (name: string): string => path.join(this.#share, name)
    fs.writeFileSync(at('a'), 'the contents of a file')
    fs.mkdirSync(at('d'))
    fs.writeFileSync(at('d/e'), '')
    fs.symlinkSync('../outside', at('up'))
  }
}
