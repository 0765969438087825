// SPDX-License-Identifier: Apache-2.0
/** The FUSE server alone, over a file system that answers anything within its contract, at the whim of the program. */
import { Errno } from '../../errno.ts'
import { FuseCounters } from '../../fuse/counters.ts'
import { FuseSession } from '../../fuse/session.ts'
import { FakeChannel } from '../../fuse/testing/fake-channel.ts'
import { FakeWindow } from '../../fuse/testing/fake-window.ts'
import { FuseServer } from '../../operations/server.ts'
import { FakeFileSystem, field, type OperationCall, zeros } from '../../operations/testing/fake-file-system.ts'
import { splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'
import { type Known, nextRequest } from './fuse-grammar.ts'
import { serve } from './serve.ts'

const WINDOW_BYTES = 64 << 20

class WhimsicalFileSystem extends FakeFileSystem {
  override readonly initFlags = -1
  override readonly initFlags2 = -1
  override readonly readOnly: boolean
  whim = 0

  constructor(readOnly: boolean) {
    super((call) => this.#answer(call))
    this.readOnly = readOnly
  }

  #answer(call: OperationCall): number {
    const size = field(call, 'replySize')
    const upTo = (bytes: number): number => zeros(call, (this.whim * 97) % (bytes + 1))
    const unless = (errno: number, bytes: number): number => (this.whim % 3 === 0 ? -errno : zeros(call, bytes))
    switch (call.name) {
      case 'link':
        return unless(Errno.ENOENT, 128)
      case 'readlink':
        return upTo(size)
      case 'getxattr':
      case 'listxattr':
        return size === 0 ? this.whim : upTo(size)
      case 'ioctl':
        return unless(Errno.ENOTTY, field(call, 'command') === 0x8008_6601 ? 4 : 0)
      case 'setlk':
      case 'flock':
        return unless(Errno.EAGAIN, 0)
      case 'lseek':
        return this.whim
      default:
        return -Errno.ENOSYS
    }
  }
}

export class FuseTarget implements Target {
  readonly name = 'fuse'
  readonly #channel = new FakeChannel(256 * 1024)

  covers(url: string): boolean {
    return /\/server\/(fuse|operations)\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    const { head, steps } = splitProgram(program)
    const setting = head.byte()
    const fileSystem = new WhimsicalFileSystem((setting & 1) !== 0)
    const session = new FuseSession(FuseSession.allocate())
    const window = new FakeWindow((setting & 2) !== 0 ? 0 : WINDOW_BYTES)
    window.startResult = (setting & 0xc0) === 0xc0 ? -Errno.EINTR : 0
    const server = new FuseServer(fileSystem, window, session, new FuseCounters(FuseCounters.allocate()))
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
