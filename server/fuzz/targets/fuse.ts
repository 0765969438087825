// SPDX-License-Identifier: Apache-2.0
/** The FUSE server alone, over a file system that answers anything within its contract, at the whim of the program. */
import { Errno } from '../../errno.ts'
import { FuseCounters } from '../../fuse/counters.ts'
import { NullFileSystem } from '../../fuse/null-file-system.ts'
import { FuseServer } from '../../fuse/server.ts'
import { FuseSession } from '../../fuse/session.ts'
import { FakeChannel } from '../../fuse/testing/fake-channel.ts'
import { FakeMapper } from '../../fuse/testing/fake-mapper.ts'
import type { ReplyBody } from '../../fuse/wire.ts'
import { splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'
import { type Known, nextRequest } from './fuse-grammar.ts'
import { serve } from './serve.ts'

const WINDOW_BYTES = 64 << 20

function zeros(reply: ReplyBody, bytes: number): number {
  reply.bytes.fill(0, reply.offset, reply.offset + bytes)
  return bytes
}

class WhimsicalFileSystem extends NullFileSystem {
  override readonly readOnly: boolean
  override readonly initFlags = -1
  override readonly initFlags2 = -1
  whim = 0

  constructor(readOnly: boolean) {
    super()
    this.readOnly = readOnly
    const fails = (): boolean => this.whim % 3 === 0
    const upTo = (reply: ReplyBody, bytes: number): number => zeros(reply, (this.whim * 97) % (bytes + 1))
    const entry = (reply: ReplyBody, bytes: number): number => (fails() ? -Errno.ENOENT : zeros(reply, bytes))
    this.create = (...args) => entry(args[7], 144)
    this.tmpfile = (...args) => entry(args[6], 144)
    this.setattr = (_nodeid, _attributes, reply) => entry(reply, 104)
    this.readlink = (_nodeid, reply) => upTo(reply, reply.capacity)
    this.getxattr = (_nodeid, _name, size, reply) => (size === 0 ? this.whim : upTo(reply, size))
    this.listxattr = (_nodeid, size, reply) => (size === 0 ? this.whim : upTo(reply, size))
    this.ioctl = (...args) => (fails() ? -Errno.ENOTTY : zeros(args[5], args[3] === 0x8008_6601 ? 4 : 0))
    this.lseek = () => this.whim
    this.setlk = () => (fails() ? -Errno.EAGAIN : 0)
  }
}

export class FuseTarget implements Target {
  readonly name = 'fuse'
  readonly #channel = new FakeChannel(256 * 1024)

  covers(url: string): boolean {
    return /\/server\/fuse\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    const { head, steps } = splitProgram(program)
    const setting = head.byte()
    const fileSystem = new WhimsicalFileSystem((setting & 1) !== 0)
    const session = new FuseSession(FuseSession.allocate())
    const mapper = new FakeMapper((setting & 2) !== 0 ? 0 : WINDOW_BYTES)
    mapper.startResult = (setting & 0xc0) === 0xc0 ? -Errno.EINTR : 0
    const server = new FuseServer(fileSystem, mapper, session, new FuseCounters(FuseCounters.allocate()))
    if ((setting & 4) === 0) session.start(session.clear(), (setting & 8) !== 0 ? 37 : 46, -1, -1, true, true)
    const known: Known = { nodeids: [1, 2], handles: [] }
    const outcomes: number[] = []
    this.#channel.deferred.clear()
    for (const step of steps) {
      fileSystem.whim = step.byte()
      outcomes.push(serve(server, this.#channel, nextRequest(step, known), known))
      server.retryWaits(this.#channel)
    }
    return Promise.resolve(outcomes)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
