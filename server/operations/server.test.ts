// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { Errno } from '../errno.ts'
import { FuseInitFlag, FuseInitFlag2, FuseLkIn, FuseOpcode } from '../fuse/abi.ts'
import { FuseCounters, NOTHING_SERVED } from '../fuse/counters.ts'
import { FuseServer } from './server.ts'
import { FuseSession } from '../fuse/session.ts'
import { FakeChannel, type FakeReply } from '../fuse/testing/fake-channel.ts'
import { FakeWindow } from '../fuse/testing/fake-window.ts'
import { concat, decodeInitOut, encodeRequest, encodeStruct, requests } from '../fuse/testing/messages.ts'
import { describeCall, FakeFileSystem, field, type OperationCall } from './testing/fake-file-system.ts'

const WINDOW = 64 * 1024 * 1024
const CAPACITY = 4096

const unsupported = (): number => -Errno.ENOSYS

/** Every operation succeeds, and is written down with what it was asked for. */
class RecordingFileSystem extends FakeFileSystem {
  override readonly initFlags: number = FuseInitFlag.SETXATTR_EXT | FuseInitFlag.DONT_MASK
  override readonly initFlags2 = FuseInitFlag2.CREATE_SUPP_GROUP
  readonly calls: string[] = []

  constructor(readOnly = false) {
    super((call) => {
      this.calls.push(describeCall(call))
      return 0
    })
    this.readOnly = readOnly
    this.reset = () => void this.calls.push('reset')
  }
}

class MarkingFileSystem extends FakeFileSystem {
  override readonly initFlags2 = FuseInitFlag2.HAS_INODE_DAX

  constructor() {
    super(unsupported)
  }
}

interface Bench {
  channel: FakeChannel
  server: FuseServer
  window: FakeWindow
  session: FuseSession
  counters: SharedArrayBuffer
  send: (message: Uint8Array, replyCapacity?: number) => FakeReply | null
}

function makeBench(fileSystem: FakeFileSystem, windowSize = WINDOW): Bench {
  const channel = new FakeChannel()
  const window = new FakeWindow(windowSize)
  const session = new FuseSession(FuseSession.allocate())
  const counters = FuseCounters.allocate()
  const server = new FuseServer(fileSystem, window, session, new FuseCounters(counters))
  const send = (message: Uint8Array, replyCapacity = CAPACITY): FakeReply | null => {
    channel.load(message, replyCapacity)
    server.handle(channel)
    if (channel.completion === undefined) throw new Error('the request was not completed')
    return channel.completion
  }
  return { channel, server, window, session, counters, send }
}

const INIT_FLAGS =
  FuseInitFlag.DONT_MASK |
  FuseInitFlag.MAP_ALIGNMENT |
  FuseInitFlag.INIT_EXT |
  FuseInitFlag.MAX_PAGES |
  FuseInitFlag.POSIX_LOCKS

const lock = (opcode: number, nodeid = 2): Uint8Array =>
  encodeRequest(opcode, { nodeid }, encodeStruct(FuseLkIn, { fh: 3, 'lk.end': 9 }))
const bytes = (length: number): Uint8Array => new Uint8Array(length)

/** One correct request of every operation that the server serves. */
const samples: Record<string, Uint8Array> = {
  READLINK: requests.readlink(2),
  LINK: requests.link(1, 'new', 2),
  STATFS: requests.statfs(1),
  SETXATTR: requests.setxattr(2, 'user.a', new Uint8Array(5)),
  GETXATTR: requests.getxattr(2, 'user.a', 10),
  LISTXATTR: requests.listxattr(2, 10),
  REMOVEXATTR: requests.removexattr(2, 'user.a'),
  INIT: requests.init(),
  DESTROY: requests.destroy(),
  LSEEK: requests.lseek(2, 3, 0, 3),
  STATX: requests.statx(1, 0x7ff),
}
/** Requests that are complete with their header. */
const bodyless = new Set(['READLINK', 'STATFS', 'DESTROY'])
const minimalLength: Record<string, number> = { INIT: 56 }

/** One of every operation that changes something and is the data plane's. */
const modifications: Record<string, Uint8Array> = {
  SETATTR: requests.setattr(2, { valid: 1, mode: 0o644 }),
  SYMLINK: requests.symlink(1, 'link', '../target'),
  MKNOD: requests.mknod(1, 'fifo', 0o10644),
  MKDIR: requests.mkdir(1, 'dir', 0o755),
  UNLINK: requests.unlink(1, 'file'),
  RMDIR: requests.rmdir(1, 'dir'),
  RENAME: requests.rename(1, 'old', 2, 'new'),
  RENAME2: requests.rename2(1, 'old', 2, 'new', 1),
  CREATE: requests.create(1, 'new', 2, 0o644),
  TMPFILE: requests.tmpfile(1, 2, 0o600),
  WRITE: requests.write(2, 3, 0, bytes(1)),
  FALLOCATE: requests.fallocate(2, 3, 0, 0, 10),
  COPY_FILE_RANGE: requests.copyFileRange(2, { len: 10 }),
}

test('a server without descriptors answers ENFILE, and says so once in a session', () => {
  let errno: number = Errno.EMFILE
  const fileSystem = new FakeFileSystem(() => -errno)
  const { server, send } = makeBench(fileSystem)
  const told: number[] = []
  server.onShortage = (opcode) => told.push(opcode)
  const start = (): void => void send(requests.init({ flags: INIT_FLAGS }))
  start()
  expect(send(requests.statx(1, 0))?.error).toBe(-Errno.ENFILE)
  errno = Errno.ENFILE
  expect(send(requests.statx(1, 0))?.error).toBe(-Errno.ENFILE)
  server.noteShortage(FuseOpcode.LOOKUP)
  expect(told).toEqual([FuseOpcode.STATX])
  start()
  // The data plane's own.
  server.noteShortage(FuseOpcode.LOOKUP)
  expect(told).toEqual([FuseOpcode.STATX, FuseOpcode.LOOKUP])
})

describe('a lease on the host', () => {
  /** `-EAGAIN`, until the lease is given up. */
  class Leased extends FakeFileSystem {
    override readonly initFlags = FuseInitFlag.POSIX_LOCKS
    held = true
    calls = 0
    constructor() {
      super(() => {
        this.calls++
        return this.held ? -Errno.EAGAIN : 0
      })
    }
  }
  let fileSystem: Leased
  let bench: Bench
  beforeEach(() => {
    fileSystem = new Leased()
    bench = makeBench(fileSystem)
    bench.send(requests.init({ flags: INIT_FLAGS }))
  })
  const endings = (): unknown[] => [...bench.channel.deferred.values()]

  test('GETLK waits for its end', () => {
    const { channel, counters, send, server } = bench
    expect(send(lock(FuseOpcode.GETLK))).toBeNull()
    server.retryWaits(channel)
    expect([endings(), fileSystem.calls, server.waitMs > 0]).toEqual([[undefined], 2, true])
    fileSystem.held = false
    server.retryWaits(channel)
    expect([endings(), fileSystem.calls, server.waitMs]).toEqual([[0], 3, -1])
    expect(channel.completion?.body.length).toBe(24)
    // Once, however often it is tried.
    expect(FuseCounters.sum([counters], NOTHING_SERVED).requests).toEqual({ INIT: 1, GETLK: 1 })
  })

  test.each([
    ['OPEN', FuseOpcode.OPEN, requests.open(2, 0), 16],
    ['CREATE', FuseOpcode.CREATE, requests.create(1, 'new', 2, 0o644), 144],
    ['SETATTR', FuseOpcode.SETATTR, requests.setattr(2, { valid: 8, size: 1 }), 104],
  ])("%s waits likewise, and is the data plane's", (name, opcode, message, bodySize) => {
    const { channel, counters, send, server } = bench
    let [answer, asked] = [-2, 0]
    channel.serveMessage = (served, reply) => {
      asked++
      expect(new DataView(served.buffer).getUint32(4, true)).toBe(opcode)
      if (answer > 0) reply.fill(0, 0, answer)
      return answer
    }
    expect(send(message)).toBeNull()
    server.retryWaits(channel)
    expect([endings(), asked, server.waitMs > 0]).toEqual([[undefined], 2, true])
    answer = 16 + bodySize
    server.retryWaits(channel)
    expect([endings(), asked, server.waitMs]).toEqual([[0], 3, -1])
    expect(channel.completion?.body.length).toBe(bodySize)
    expect(FuseCounters.sum([counters], NOTHING_SERVED).requests).toEqual({ INIT: 1, [name]: 1 })
    // The session's policy was withdrawn meanwhile.
    answer = -1
    expect(send(message)?.error).toBe(-Errno.ENOTCONN)
  })

  test('those that wait for long are told of, and when they end, but never more than 8', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { channel, send, server } = bench
    const told: [opcode: number, nodeid: number, waitedMs: number, ended: boolean][] = []
    server.onStuck = ({ opcode, nodeid }, waitedMs, ended) => told.push([opcode, nodeid, waitedMs, ended])
    for (let nodeid = 2; nodeid < 14; nodeid++) send(lock(FuseOpcode.GETLK, nodeid))
    vi.advanceTimersByTime(9_999)
    server.retryWaits(channel)
    expect(told).toEqual([])
    vi.advanceTimersByTime(1)
    for (let times = 0; times < 3; times++) server.retryWaits(channel)
    const eight = [2, 3, 4, 5, 6, 7, 8, 9]
    expect(told.splice(0)).toEqual(eight.map((nodeid) => [FuseOpcode.GETLK, nodeid, 10_000, false]))
    // The stop of their queue has ended some.
    for (const deferred of [0, 1]) channel.deferred.delete(deferred)
    server.retryWaits(channel)
    expect(told.splice(0)).toEqual([
      [FuseOpcode.GETLK, 2, 10_000, true],
      [FuseOpcode.GETLK, 3, 10_000, true],
      [FuseOpcode.GETLK, 10, 10_000, false],
      [FuseOpcode.GETLK, 11, 10_000, false],
    ])
    vi.advanceTimersByTime(500)
    fileSystem.held = false
    server.retryWaits(channel)
    expect(told).toEqual([...eight.slice(2), 10, 11].map((nodeid) => [FuseOpcode.GETLK, nodeid, 10_500, true]))
    expect(server.waitMs).toBe(-1)
  })

  test('who will not wait need not', () => {
    expect(bench.send(lock(FuseOpcode.SETLK))?.error).toBe(-Errno.EAGAIN)
    expect(endings()).toEqual([])
  })

  test('nobody waits for ever', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    bench.send(lock(FuseOpcode.GETLK))
    vi.advanceTimersByTime(119_999)
    bench.server.retryWaits(bench.channel)
    expect(endings()).toEqual([undefined])
    vi.advanceTimersByTime(1)
    bench.server.retryWaits(bench.channel)
    expect(endings()).toEqual([Errno.EAGAIN])
  })
})

describe('dispatch', () => {
  let fileSystem: RecordingFileSystem
  let bench: Bench
  beforeEach(() => {
    fileSystem = new RecordingFileSystem()
    bench = makeBench(fileSystem)
    bench.send(requests.init({ flags: INIT_FLAGS }))
    fileSystem.calls.length = 0
    bench.window.calls.length = 0
  })

  test.each(Object.entries(samples))('%s is served', (_name, message) => {
    const reply = bench.send(message)
    expect(reply?.error).toBe(0)
    expect(fileSystem.calls.length + bench.window.calls.length).toBeGreaterThan(0)
  })

  test.each(Object.entries(samples))('%s cut off anywhere is refused, and reaches nothing', (name, message) => {
    const enough = bodyless.has(name) ? 40 : (minimalLength[name] ?? message.length)
    for (let length = 0; length < enough; length++) {
      // Both kinds of shortness: a header that says more than has come, and one that admits it.
      for (const honest of [false, true]) {
        const cut = message.slice(0, length)
        if (honest && length >= 4) new DataView(cut.buffer).setUint32(0, length, true)
        const reply = bench.send(cut)
        expect([length, honest, reply?.error]).toEqual([length, honest, -Errno.EINVAL])
      }
    }
    expect(fileSystem.calls).toEqual([])
    expect(bench.window.calls).toEqual([])
  })

  test.each(Object.entries(samples))('%s with a reply buffer that is too small does nothing', (name, message) => {
    const needsBody = new Set(['STATX', 'LINK', 'INIT', 'STATFS'])
    if (!needsBody.has(name)) return
    expect(bench.send(message, 16 + 15)?.error).toBe(-Errno.EINVAL)
    expect(fileSystem.calls).toEqual([])
  })

  test('unknown and unserved opcodes', () => {
    for (const opcode of [0, 7, 19, 54, 63, 64, 4096, 0xffff_ffff]) {
      expect(bench.send(encodeRequest(opcode, {}))?.error).toBe(-Errno.ENOSYS)
    }
    for (const opcode of [FuseOpcode.BMAP, FuseOpcode.ACCESS, FuseOpcode.POLL]) {
      expect(bench.send(encodeRequest(opcode, {}, new Uint8Array(64)))?.error).toBe(-Errno.ENOSYS)
    }
    expect(bench.send(encodeRequest(FuseOpcode.IOCTL, {}, new Uint8Array(32)))?.error).toBe(-Errno.ENOTTY)
    expect(bench.send(encodeRequest(FuseOpcode.INTERRUPT, {}, new Uint8Array(8)))).toBe(null)
  })

  test('names', () => {
    for (const name of ['', '.', '..', 'a/b', '/'])
      expect(bench.send(requests.link(1, name, 2))?.error).toBe(-Errno.EINVAL)
    expect(bench.send(requests.link(1, 'x'.repeat(256), 2))?.error).toBe(-Errno.ENAMETOOLONG)
    expect(fileSystem.calls).toEqual([])
    // Any bytes but NUL and the slash make a name.
    const allBytes = Uint8Array.from({ length: 255 }, (_, index) => (index + 1 === 0x2f ? 0xff : index + 1))
    expect(bench.send(requests.link(1, allBytes, 2))?.error).toBe(0)
    expect(fileSystem.calls).toEqual([`link nodeid=1 name=${Buffer.from(allBytes).toString('latin1')} otherNodeid=2`])
  })

  test('arguments reach the file system', () => {
    bench.send(requests.link(5, 'new', 6))
    bench.send(requests.setxattr(5, 'user.x', new TextEncoder().encode('value'), 1, false))
    bench.send(requests.removexattr(5, 'user.x'))
    bench.send(requests.lseek(5, 6, 5_000_000_000, 3))
    bench.send(requests.statx(5, 0x7ff))
    expect(fileSystem.calls).toEqual([
      'link nodeid=5 name=new otherNodeid=6',
      'setxattr nodeid=5 name=user.x second=value flags=1',
      'removexattr nodeid=5 name=user.x',
      'lseek nodeid=5 fh=6 offset=5000000000 type=3',
      'statx nodeid=5 mask=2047',
    ])
  })

  test('offsets beyond 2^53', () => {
    expect(bench.send(requests.lseek(2, 3, 1n << 62n, 3))?.error).toBe(-Errno.ENXIO)
  })

  test('what the data plane serves comes here only when the session has ended meanwhile', () => {
    for (const message of [requests.lookup(1, 'file'), requests.read(2, 3, 0, 100), ...Object.values(modifications)])
      expect(bench.send(message)?.error).toBe(-Errno.ENOTCONN)
    expect(bench.send(requests.forget(2, 1))).toBe(null)
    expect(fileSystem.calls).toEqual([])
  })

  test('requests and errors are counted', () => {
    bench.send(requests.statfs(1))
    bench.send(requests.statfs(1))
    bench.send(encodeRequest(4096, {}))
    expect(FuseCounters.sum([bench.counters, FuseCounters.allocate()], NOTHING_SERVED)).toMatchObject({
      requests: { INIT: 1, STATFS: 2, 'opcode 63': 1 },
      requestsTotal: 4,
      errors: 1,
    })
  })
})

describe('INIT', () => {
  test('drops what was there, starts the window, then answers', () => {
    const fileSystem = new RecordingFileSystem()
    const bench = makeBench(fileSystem)
    const reply = bench.send(requests.init({ minor: 40, flags: INIT_FLAGS, flags2: 0xfd }))
    expect(fileSystem.calls).toEqual(['reset'])
    expect(bench.window.calls).toEqual(['reset', 'start'])
    expect(decodeInitOut(reply?.body ?? new Uint8Array(0))).toEqual({
      major: 7,
      minor: 40,
      maxReadahead: 131072,
      flags: INIT_FLAGS & ~FuseInitFlag.POSIX_LOCKS,
      flags2: FuseInitFlag2.CREATE_SUPP_GROUP,
      maxWrite: 1048576,
      maxPages: 256,
      mapAlignment: 12,
    })
    expect(bench.session).toMatchObject({ initialized: true, minor: 40, hasWindow: true, daxForEveryFile: true })
  })

  test('a guest that maps only marked files needs no window, whatever is wrong with it', () => {
    const bench = makeBench(new RecordingFileSystem())
    bench.window.startResult = -Errno.ETIMEDOUT
    const reply = bench.send(requests.init({ flags: INIT_FLAGS, flags2: FuseInitFlag2.HAS_INODE_DAX }))
    expect(reply?.error).toBe(0)
    expect(decodeInitOut(reply?.body ?? new Uint8Array(0))).toMatchObject({ mapAlignment: 0, flags2: 0 })
    expect(bench.window.calls).toEqual(['reset'])
    expect(bench.session).toMatchObject({ hasWindow: false, daxForEveryFile: false })
  })

  test('stays in the queue where the queue is stopped meanwhile', () => {
    const { channel, server, window, session } = makeBench(new RecordingFileSystem())
    window.startResult = -Errno.EINTR
    channel.load(requests.init({ flags: INIT_FLAGS }), CAPACITY)
    server.handle(channel)
    expect([channel.givenBack, channel.completion, session.initialized]).toEqual([true, undefined, false])
  })

  test.each([
    ['marked files', FuseInitFlag2.HAS_INODE_DAX, false],
    ['every file', 0, true],
  ])('where files are marked, a guest that maps %s gets the window', (_, flags2, daxForEveryFile) => {
    const bench = makeBench(new MarkingFileSystem())
    const reply = bench.send(requests.init({ flags: INIT_FLAGS, flags2 }))
    expect(decodeInitOut(reply?.body ?? new Uint8Array(0))).toMatchObject({ mapAlignment: 12, flags2 })
    expect(bench.window.calls).toEqual(['reset', 'start'])
    expect(bench.session).toMatchObject({ hasWindow: true, daxForEveryFile })
  })

  test.each([
    ['there is no window', 0, 0],
    ['the window fails', WINDOW, -Errno.ETIMEDOUT],
  ])('files are not marked if %s', (_, windowSize, startResult) => {
    const bench = makeBench(new MarkingFileSystem(), windowSize)
    bench.window.startResult = startResult
    const reply = bench.send(requests.init({ flags: INIT_FLAGS, flags2: FuseInitFlag2.HAS_INODE_DAX }))
    expect(reply?.error).toBe(0)
    expect(decodeInitOut(reply?.body ?? new Uint8Array(0))).toMatchObject({ mapAlignment: 0, flags2: 0 })
    expect(bench.session).toMatchObject({ hasWindow: false, daxForEveryFile: false })
  })

  test('the reply’s bytes', () => {
    const bench = makeBench(new FakeFileSystem(unsupported), 0)
    const reply = bench.send(requests.init({ minor: 31, maxReadahead: 0x20000, flags: FuseInitFlag.BIG_WRITES }))
    const golden = `070000001f0000000000020020000000ffffffbf0000100001000000000100${'00'.repeat(33)}`
    expect(Buffer.from(reply?.body ?? []).toString('hex')).toBe(golden)
  })

  test('fails if the window can’t be started', () => {
    const bench = makeBench(new FakeFileSystem(unsupported))
    bench.window.startResult = -Errno.ETIMEDOUT
    expect(bench.send(requests.init({ flags: FuseInitFlag.MAP_ALIGNMENT }))?.error).toBe(-Errno.ETIMEDOUT)
    expect(bench.session.initialized).toBe(false)
    expect(bench.send(requests.getattr(1))?.error).toBe(-Errno.ENOTCONN)
  })

  test('starts no window for a guest that does not ask for it', () => {
    const bench = makeBench(new RecordingFileSystem())
    bench.send(requests.init({ flags: FuseInitFlag.MAX_PAGES }))
    expect(bench.window.calls).toEqual(['reset'])
  })

  test('refuses old and foreign versions without touching the session', () => {
    const bench = makeBench(new FakeFileSystem(unsupported))
    bench.send(requests.init())
    expect(bench.send(requests.init({ minor: 26 }))?.error).toBe(-Errno.EPROTO)
    expect(bench.send(requests.init({ major: 6 }))?.error).toBe(-Errno.EPROTO)
    const newer = bench.send(requests.init({ major: 8 }))
    expect(decodeInitOut(newer?.body ?? new Uint8Array(0))).toMatchObject({ major: 7, minor: 46, flags: 0 })
    expect(bench.session.initialized).toBe(true)
  })

  test('a short request of an older guest has no flags2', () => {
    const bench = makeBench(new RecordingFileSystem())
    const message = requests.init({ minor: 31, flags: INIT_FLAGS, flags2: 0xff }).slice(0, 56)
    new DataView(message.buffer).setUint32(0, 56, true)
    expect(decodeInitOut(bench.send(message)?.body ?? new Uint8Array(0)).flags2).toBe(0)
  })

  test('DESTROY ends the session', () => {
    const fileSystem = new RecordingFileSystem()
    const bench = makeBench(fileSystem)
    bench.send(requests.init({ flags: INIT_FLAGS }))
    expect(bench.send(requests.destroy())?.error).toBe(0)
    expect(fileSystem.calls).toEqual(['reset', 'reset'])
    expect(bench.window.calls).toEqual(['reset', 'start', 'reset'])
    expect(bench.send(requests.lookup(1, 'a'))?.error).toBe(-Errno.ENOTCONN)
  })
})

test('a read-only file system refuses every modification', () => {
  const fileSystem = new RecordingFileSystem(true)
  const bench = makeBench(fileSystem)
  bench.send(requests.init({ flags: INIT_FLAGS }))
  fileSystem.calls.length = 0
  const { LINK = bytes(0), SETXATTR = bytes(0), REMOVEXATTR = bytes(0) } = samples
  for (const [name, message] of Object.entries({ ...modifications, LINK, SETXATTR, REMOVEXATTR }))
    expect([name, bench.send(message)?.error]).toEqual([name, -Errno.EROFS])
  expect(fileSystem.calls).toEqual([])
  for (const name of ['STATFS', 'GETXATTR']) {
    expect([name, bench.send(samples[name] ?? new Uint8Array(0))?.error]).toEqual([name, 0])
  }
})

describe('fuzz', () => {
  /** Answers anything within its contract, at the whim of the bytes it is given. */
  class WhimsicalFileSystem extends FakeFileSystem {
    whim = 0
    constructor() {
      super((call) => this.#answer(call))
    }

    #answer(call: OperationCall): number {
      const size = field(call, 'replySize')
      if (call.name === 'readlink') return this.whim % (size + 1)
      if (call.name === 'getxattr' || call.name === 'listxattr') return size === 0 ? this.whim : this.whim % (size + 1)
      return call.name === 'lseek' ? this.whim : -Errno.ENOSYS
    }
  }

  const opcodes = fc.oneof(fc.constantFrom(...Object.values(FuseOpcode)), fc.integer({ min: 0, max: 70 }))

  test('no message makes the server throw, complete twice or not at all', () => {
    const fileSystem = new WhimsicalFileSystem()
    const bench = makeBench(fileSystem)
    fc.assert(
      fc.property(
        opcodes,
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.integer({ min: 0, max: 400 }),
        fc.nat(10_000),
        fc.boolean(),
        (opcode, body, head, capacity, whim, honest) => {
          fileSystem.whim = whim
          bench.session.start(bench.session.clear(), 46, -1, -1, true, true)
          const message = concat(new Uint8Array(8), head, body)
          const view = new DataView(message.buffer)
          view.setUint32(0, honest ? message.length : view.getUint32(16, true), true)
          view.setUint32(4, opcode, true)
          if (honest && whim % 4 !== 0) view.setUint16(36, 0, true)
          expect(bench.send(message, capacity)).not.toBe(undefined)
        },
      ),
      { numRuns: 5000 },
    )
  })

  test('well-formed requests with a few bytes changed', () => {
    const fileSystem = new WhimsicalFileSystem()
    const bench = makeBench(fileSystem)
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(samples)),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
        fc.integer({ min: 0, max: 400 }),
        fc.nat(10_000),
        (sample, changes, capacity, whim) => {
          fileSystem.whim = whim
          bench.session.start(bench.session.clear(), 46, -1, -1, true, true)
          const message = sample.slice()
          for (const [position, byte] of changes) message[position % message.length] = byte
          expect(bench.send(message, capacity)).not.toBe(undefined)
        },
      ),
      { numRuns: 5000 },
    )
  })
})
