// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { Errno } from '../errno.ts'
import { FuseInitFlag, FuseInitFlag2, FuseOpcode } from '../fuse/abi.ts'
import { FuseCounters, NOTHING_SERVED } from '../fuse/counters.ts'
import { FuseServer } from './server.ts'
import { FuseSession } from '../fuse/session.ts'
import { FakeChannel, type FakeReply } from '../fuse/testing/fake-channel.ts'
import { FakeWindow } from '../fuse/testing/fake-window.ts'
import { concat, decodeInitOut, encodeRequest, requests } from '../fuse/testing/messages.ts'
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

const bytes = (length: number): Uint8Array => new Uint8Array(length)

/** One correct request of every operation that the server serves. */
const samples: Record<string, Uint8Array> = {
  SETATTR: requests.setattr(2, { valid: 1, mode: 0o644 }),
  READLINK: requests.readlink(2),
  SYMLINK: requests.symlink(1, 'link', '../target'),
  MKNOD: requests.mknod(1, 'fifo', 0o10644),
  MKDIR: requests.mkdir(1, 'dir', 0o755),
  UNLINK: requests.unlink(1, 'file'),
  RMDIR: requests.rmdir(1, 'dir'),
  RENAME: requests.rename(1, 'old', 2, 'new'),
  RENAME2: requests.rename2(1, 'old', 2, 'new', 1),
  LINK: requests.link(1, 'new', 2),
  STATFS: requests.statfs(1),
  SETXATTR: requests.setxattr(2, 'user.a', new Uint8Array(5)),
  GETXATTR: requests.getxattr(2, 'user.a', 10),
  LISTXATTR: requests.listxattr(2, 10),
  REMOVEXATTR: requests.removexattr(2, 'user.a'),
  INIT: requests.init(),
  CREATE: requests.create(1, 'new', 2, 0o644),
  DESTROY: requests.destroy(),
  LSEEK: requests.lseek(2, 3, 0, 3),
  TMPFILE: requests.tmpfile(1, 2, 0o600),
  STATX: requests.statx(1, 0x7ff),
}
/** Requests that are complete with their header. */
const bodyless = new Set(['READLINK', 'STATFS', 'DESTROY'])
const minimalLength: Record<string, number> = { INIT: 56, TMPFILE: 56 }

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
    held = true
    calls = 0
    constructor() {
      super(() => {
        this.calls++
        return this.held ? -Errno.EAGAIN : 0
      })
    }
  }
  const O_NONBLOCK = 0o4000
  let fileSystem: Leased
  let bench: Bench
  beforeEach(() => {
    fileSystem = new Leased()
    bench = makeBench(fileSystem)
    bench.send(requests.init({ flags: INIT_FLAGS }))
  })
  const endings = (): unknown[] => [...bench.channel.deferred.values()]

  test.each([
    ['CREATE', 144],
    ['SETATTR', 104],
  ])('%s waits for its end', (name, replySize) => {
    const { channel, counters, send, server } = bench
    expect(send(samples[name] ?? bytes(0))).toBeNull()
    server.retryWaits(channel)
    expect([endings(), fileSystem.calls, server.waitMs > 0]).toEqual([[undefined], 2, true])
    fileSystem.held = false
    server.retryWaits(channel)
    expect([endings(), fileSystem.calls, server.waitMs]).toEqual([[0], 3, -1])
    expect(channel.completion?.body.length).toBe(replySize)
    // Once, however often it is tried.
    expect(FuseCounters.sum([counters], NOTHING_SERVED).requests).toEqual({ INIT: 1, [name]: 1 })
  })

  test("OPEN waits likewise, and is the data plane's", () => {
    const { channel, counters, send, server } = bench
    let [answer, asked] = [-2, 0]
    channel.serveMessage = (message, reply) => {
      asked++
      expect(new DataView(message.buffer).getUint32(4, true)).toBe(FuseOpcode.OPEN)
      if (answer > 0) reply.fill(0, 0, answer)
      return answer
    }
    expect(send(requests.open(2, 0))).toBeNull()
    server.retryWaits(channel)
    expect([endings(), asked, server.waitMs > 0]).toEqual([[undefined], 2, true])
    answer = 32
    server.retryWaits(channel)
    expect([endings(), asked, server.waitMs]).toEqual([[0], 3, -1])
    expect(channel.completion?.body.length).toBe(16)
    expect(FuseCounters.sum([counters], NOTHING_SERVED).requests).toEqual({ INIT: 1, OPEN: 1 })
    // The session's policy was withdrawn meanwhile.
    answer = -1
    expect(send(requests.open(2, 0))?.error).toBe(-Errno.ENOTCONN)
  })

  test('those that wait for long are told of, and when they end, but never more than 8', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { channel, send, server } = bench
    const told: [opcode: number, nodeid: number, waitedMs: number, ended: boolean][] = []
    server.onStuck = ({ opcode, nodeid }, waitedMs, ended) => told.push([opcode, nodeid, waitedMs, ended])
    for (let nodeid = 2; nodeid < 14; nodeid++) send(requests.create(nodeid, 'file', 0, 0o644))
    vi.advanceTimersByTime(9_999)
    server.retryWaits(channel)
    expect(told).toEqual([])
    vi.advanceTimersByTime(1)
    for (let times = 0; times < 3; times++) server.retryWaits(channel)
    const eight = [2, 3, 4, 5, 6, 7, 8, 9]
    expect(told.splice(0)).toEqual(eight.map((nodeid) => [FuseOpcode.CREATE, nodeid, 10_000, false]))
    // The stop of their queue has ended some.
    for (const deferred of [0, 1]) channel.deferred.delete(deferred)
    server.retryWaits(channel)
    expect(told.splice(0)).toEqual([
      [FuseOpcode.CREATE, 2, 10_000, true],
      [FuseOpcode.CREATE, 3, 10_000, true],
      [FuseOpcode.CREATE, 10, 10_000, false],
      [FuseOpcode.CREATE, 11, 10_000, false],
    ])
    vi.advanceTimersByTime(500)
    fileSystem.held = false
    server.retryWaits(channel)
    expect(told).toEqual([...eight.slice(2), 10, 11].map((nodeid) => [FuseOpcode.CREATE, nodeid, 10_500, true]))
    expect(server.waitMs).toBe(-1)
  })

  test('who will not wait need not', () => {
    expect(bench.send(requests.create(1, 'new', O_NONBLOCK, 0o644))?.error).toBe(-Errno.EAGAIN)
    expect(endings()).toEqual([])
  })

  test('nobody waits for ever', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    bench.send(requests.create(1, 'new', 2, 0o644))
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
    const needsBody = new Set(['SETATTR', 'STATX', 'CREATE', 'MKDIR', 'OPEN', 'INIT', 'STATFS'])
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
    for (const name of ['', '.', '..', 'a/b', '/']) {
      expect(bench.send(requests.unlink(1, name))?.error).toBe(-Errno.EINVAL)
      expect(bench.send(requests.rename(1, 'ok', 1, name))?.error).toBe(-Errno.EINVAL)
      expect(bench.send(requests.rename(1, name, 1, 'ok'))?.error).toBe(-Errno.EINVAL)
    }
    expect(bench.send(requests.unlink(1, 'x'.repeat(256)))?.error).toBe(-Errno.ENAMETOOLONG)
    expect(fileSystem.calls).toEqual([])
    // Any bytes but NUL and the slash make a name.
    const allBytes = Uint8Array.from({ length: 255 }, (_, index) => (index + 1 === 0x2f ? 0xff : index + 1))
    expect(bench.send(requests.unlink(1, allBytes))?.error).toBe(0)
    expect(fileSystem.calls).toEqual([`unlink nodeid=1 name=${Buffer.from(allBytes).toString('latin1')}`])
  })

  test('arguments reach the file system', () => {
    bench.send(requests.rename2(5, 'old', 6, 'new', 2))
    bench.send(requests.symlink(5, 'link', '/a/../b', { uid: 7, gid: 8 }))
    bench.send(requests.create(5, 'f', 0o102, 0o640, 0o22, { uid: 7, gid: 8, groups: [9] }))
    bench.send(requests.mknod(5, 'n', 0o20600, 0x501))
    bench.send(requests.setxattr(5, 'user.x', new TextEncoder().encode('value'), 1, false))
    bench.send(requests.lseek(5, 6, 5_000_000_000, 3))
    expect(fileSystem.calls).toEqual([
      'rename nodeid=5 name=old second=new otherNodeid=6 flags=2',
      'symlink nodeid=5 name=link second=/a/../b uid=7 gid=8',
      'create nodeid=5 name=f flags=66 mode=416 umask=18 uid=7 gid=8 groups=9',
      'mknod nodeid=5 name=n mode=8576 rdev=1281',
      'setxattr nodeid=5 name=user.x second=value flags=1',
      'lseek nodeid=5 fh=6 offset=5000000000 type=3',
    ])
  })

  test('offsets and sizes beyond 2^53', () => {
    expect(bench.send(requests.setattr(2, { valid: 8, size: 1n << 62n }))?.error).toBe(-Errno.EFBIG)
    expect(bench.send(requests.lseek(2, 3, 1n << 62n, 3))?.error).toBe(-Errno.ENXIO)
  })

  test('what the data plane serves comes here only when the session has ended meanwhile', () => {
    for (const message of [requests.lookup(1, 'file'), requests.read(2, 3, 0, 100), requests.write(2, 3, 0, bytes(1))])
      expect(bench.send(message)?.error).toBe(-Errno.ENOTCONN)
    expect(bench.send(requests.forget(2, 1))).toBe(null)
    expect(fileSystem.calls).toEqual([])
  })

  test('unknown rename flags are refused', () => {
    expect(bench.send(requests.rename2(1, 'a', 1, 'b', 8))?.error).toBe(-Errno.EINVAL)
  })

  test('extensions', () => {
    const mkdir = requests.mkdir(1, 'dir', 0o755, 0, { groups: [9] })
    expect(bench.send(mkdir)?.error).toBe(0)
    expect(bench.send(requests.mkdir(1, 'dir', 0o755, 0, { groups: [9, 0xffff_fffe, 11, 12] }))?.error).toBe(0)
    expect(bench.send(requests.mkdir(1, 'dir', 0o755, 0, { groups: [] }))?.error).toBe(0)
    expect(fileSystem.calls).toEqual([
      'mkdir nodeid=1 name=dir mode=493 groups=9',
      'mkdir nodeid=1 name=dir mode=493 groups=9+4294967294+11+12',
      'mkdir nodeid=1 name=dir mode=493',
    ])
    const groups = mkdir.length - 8
    const alter = (change: (view: DataView) => void): number | undefined => {
      const message = mkdir.slice()
      change(new DataView(message.buffer))
      return bench.send(message)?.error
    }
    expect(alter((view) => view.setUint32(groups, 2, true))).toBe(-Errno.EINVAL)
    expect(alter((view) => view.setUint32(groups, 0xffff_ffff, true))).toBe(-Errno.EINVAL)
    expect(alter((view) => view.setUint32(groups - 8, 7, true))).toBe(-Errno.EINVAL)
    expect(alter((view) => view.setUint32(groups - 8, 24, true))).toBe(-Errno.EINVAL)
    expect(alter((view) => view.setUint16(36, 0xffff, true))).toBe(-Errno.EINVAL)
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
  const modifications = ['SETATTR', 'SYMLINK', 'MKNOD', 'MKDIR', 'UNLINK', 'RMDIR', 'RENAME', 'RENAME2', 'LINK']
  modifications.push('SETXATTR', 'REMOVEXATTR', 'CREATE', 'TMPFILE')
  for (const name of modifications) {
    expect([name, bench.send(samples[name] ?? new Uint8Array(0))?.error]).toEqual([name, -Errno.EROFS])
  }
  expect(bench.send(requests.write(2, 3, 0, bytes(1)))?.error).toBe(-Errno.EROFS)
  expect(bench.send(requests.fallocate(2, 3, 0, 0, 10))?.error).toBe(-Errno.EROFS)
  expect(bench.send(requests.copyFileRange(2, { len: 10 }))?.error).toBe(-Errno.EROFS)
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
