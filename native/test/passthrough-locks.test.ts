// SPDX-License-Identifier: Apache-2.0
/** Remote locks: between owners of one guest, and with others who use the same files. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import {
  FUSE_LK_FLOCK,
  FuseFlushIn,
  FuseInitFlag,
  FuseLkIn,
  FuseLkOut,
  FuseOpcode,
  FuseOpenFlag,
} from '../../server/fuse/abi.ts'
import { FuseSession } from '../../server/fuse/session.ts'
import {
  decodeOpenOut,
  decodeStruct,
  encodeRequest,
  encodeStruct,
  requests,
} from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { LINUX_INIT_FLAGS, PassthroughBench } from './testing/passthrough-bench.ts'

const { O_RDWR, O_RDONLY } = fs.constants
const READ = 0
const WRITE = 1
const UNLOCK = 2
const END = 0x7fff_ffff_ffff_ffffn

/** A guest with the file open. */
interface Guest {
  bench: PassthroughBench
  nodeid: number
  fh: number
}

const FLAGS = LINUX_INIT_FLAGS | FuseInitFlag.POSIX_LOCKS | FuseInitFlag.FLOCK_LOCKS
const guests: PassthroughBench[] = []

function join(where?: string, options: Partial<PassthroughOptions> = { posixLocks: true, flocks: true }): Guest {
  const bench = new PassthroughBench(options, where)
  guests.push(bench)
  if (where === undefined) fs.writeFileSync(bench.at('file'), 'contents')
  bench.body(requests.init({ flags: FLAGS }))
  const { nodeid } = bench.lookup('file')
  return { bench, nodeid, fh: bench.open(nodeid, O_RDWR) }
}

interface LockFields {
  type: number
  owner?: bigint
  start?: bigint
  end?: bigint
  flock?: boolean
  unique?: number
  fh?: number
}

function message(opcode: number, { nodeid, fh }: Guest, fields: LockFields): Uint8Array {
  const { type, owner = 1n, start = 0n, end = END, flock = false, unique = 1 } = fields
  const body = encodeStruct(FuseLkIn, {
    fh: fields.fh ?? fh,
    owner,
    'lk.start': start,
    'lk.end': end,
    'lk.type': type,
    lk_flags: flock ? FUSE_LK_FLOCK : 0,
  })
  return encodeRequest(opcode, { nodeid, unique }, body)
}

const setlk = (guest: Guest, fields: LockFields): number => guest.bench.errno(message(FuseOpcode.SETLK, guest, fields))
const getlk = (guest: Guest, fields: LockFields): Record<string, number> =>
  decodeStruct(FuseLkOut, guest.bench.body(message(FuseOpcode.GETLK, guest, fields)))
/** @returns the error of a SETLKW that ended at once, or undefined for one that waits */
function setlkw(guest: Guest, fields: LockFields): number | undefined {
  const reply = guest.bench.send(message(FuseOpcode.SETLKW, guest, fields))
  return reply === null ? undefined : Math.abs(reply.error)
}
const flush = ({ bench, nodeid, fh }: Guest, owner: bigint): void => {
  bench.body(encodeRequest(FuseOpcode.FLUSH, { nodeid }, encodeStruct(FuseFlushIn, { fh, lock_owner: owner })))
}

const countDescriptors = (): number => fs.readdirSync('/proc/self/fd').length

let guest: Guest
beforeEach(() => {
  guest = join()
})
afterEach(() => {
  for (const bench of guests.splice(0).toReversed()) bench[Symbol.dispose]()
})

describe('POSIX locks', () => {
  test('of two owners exclude each other where they overlap', () => {
    expect(setlk(guest, { type: WRITE, owner: 1n, start: 10n, end: 19n })).toBe(0)
    expect(setlk(guest, { type: READ, owner: 2n, start: 19n, end: 30n })).toBe(Errno.EAGAIN)
    expect(setlk(guest, { type: READ, owner: 2n, start: 20n, end: 30n })).toBe(0)
    expect(setlk(guest, { type: WRITE, owner: 1n, start: 0n, end: 5n })).toBe(0)
    expect(getlk(guest, { type: WRITE, owner: 2n, start: 12n })).toMatchObject({
      'lk.type': WRITE,
      'lk.start': 10,
      'lk.end': 19,
    })
    expect(getlk(guest, { type: READ, owner: 1n, start: 0n })).toMatchObject({ 'lk.type': UNLOCK })
    expect(setlk(guest, { type: UNLOCK, owner: 1n, start: 15n, end: 19n })).toBe(0)
    expect(setlk(guest, { type: WRITE, owner: 2n, start: 15n, end: 19n })).toBe(0)
    expect(setlk(guest, { type: WRITE, owner: 2n, start: 14n, end: 19n })).toBe(Errno.EAGAIN)
  })

  test('of more owners than there may be descriptors', () => {
    const old = /Max open files\s+(\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024'
    const before = countDescriptors()
    try {
      execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${before + 600}:`])
      const crowd = join(undefined, { posixLocks: true, descriptorLimit: 0 })
      const lock = (owner: number): number =>
        setlk(crowd, { type: READ, owner: BigInt(owner), start: BigInt(owner), end: BigInt(owner) })
      let owner = 1
      while (lock(owner) === 0) owner++
      expect(lock(owner)).toBe(Errno.ENOLCK)
      expect(owner).toBeGreaterThan(100)
      // One that closes the file makes room for another.
      flush(crowd, 1n)
      expect(lock(owner)).toBe(0)
      expect(countDescriptors()).toBeLessThan(before + 600)
    } finally {
      execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${old}:`])
    }
  })

  test('to the end of the file, and of large owners', () => {
    const owners = [0xffff_ffff_ffff_fffen, 0xffff_ffff_ffff_ffffn] as const
    expect(setlk(guest, { type: WRITE, owner: owners[0], start: 100n })).toBe(0)
    expect(setlk(guest, { type: READ, owner: owners[1], start: 1n << 50n, end: (1n << 50n) + 1n })).toBe(Errno.EAGAIN)
    const { bench } = guest
    const raw = bench.body(message(FuseOpcode.GETLK, guest, { type: READ, owner: owners[1] }))
    expect(new DataView(raw.buffer, raw.byteOffset).getBigUint64(8, true)).toBe(END)
  })

  test('go when the process closes the file, and only its own', () => {
    expect(setlk(guest, { type: WRITE, owner: 1n, end: 9n })).toBe(0)
    expect(setlk(guest, { type: WRITE, owner: 2n, start: 10n, end: 19n })).toBe(0)
    flush(guest, 1n)
    expect(setlk(guest, { type: WRITE, owner: 3n, end: 9n })).toBe(0)
    expect(setlk(guest, { type: WRITE, owner: 3n, start: 10n, end: 19n })).toBe(Errno.EAGAIN)
  })

  test('count between guests, and go with the guest', () => {
    const other = join(guest.bench.path)
    expect(setlk(guest, { type: READ })).toBe(0)
    expect(setlk(other, { type: READ })).toBe(0)
    expect(setlk(other, { type: WRITE })).toBe(Errno.EAGAIN)
    expect(getlk(other, { type: WRITE })).toMatchObject({ 'lk.type': READ, 'lk.pid': 0 })
    guest.bench.body(requests.destroy())
    expect(setlk(other, { type: WRITE })).toBe(0)
  })

  test('are not taken for a file that is not open', () => {
    expect(setlk(guest, { type: WRITE, fh: 12345 })).toBe(Errno.EBADF)
    expect(setlk(guest, { type: 3 })).toBe(Errno.EINVAL)
    expect(setlk(guest, { type: WRITE, start: 10n, end: 9n })).toBe(Errno.EINVAL)
    expect(setlk(guest, { type: UNLOCK, owner: 77n })).toBe(0)
  })

  test('need each close to be told', () => {
    const { bench, nodeid } = guest
    expect(decodeOpenOut(bench.body(requests.open(nodeid, O_RDONLY))).openFlags & FuseOpenFlag.NOFLUSH).toBe(0)
  })

  test('leave no descriptor behind', () => {
    const { bench, nodeid, fh } = guest
    const before = countDescriptors()
    for (let owner = 1n; owner <= 20n; owner++) setlk(guest, { type: READ, owner })
    expect(countDescriptors()).toBe(before + 20)
    bench.send(requests.forget(nodeid, 1))
    expect(countDescriptors()).toBe(before)
    bench.send(requests.release(nodeid, fh))
  })
})

describe('flock', () => {
  test('excludes by open file, between guests as well', () => {
    const other = join(guest.bench.path)
    expect(setlk(guest, { type: WRITE, flock: true })).toBe(0)
    expect(setlk(other, { type: READ, flock: true })).toBe(Errno.EAGAIN)
    const second = { ...guest, fh: guest.bench.open(guest.nodeid, O_RDWR) }
    expect(setlk(second, { type: READ, flock: true })).toBe(Errno.EAGAIN)
    // The two kinds know nothing of each other.
    expect(setlk(other, { type: WRITE })).toBe(0)
    guest.bench.body(requests.release(guest.nodeid, guest.fh))
    expect(setlk(other, { type: READ, flock: true })).toBe(0)
    expect(setlk(second, { type: READ, flock: true })).toBe(0)
    expect(setlk(second, { type: WRITE, flock: true })).toBe(Errno.EAGAIN)
  })
})

describe('SETLKW', () => {
  test('waits without holding anything up, in the order of asking', () => {
    const { bench, nodeid } = guest
    expect(setlkw(guest, { type: WRITE, owner: 1n })).toBe(0)
    expect(setlkw(guest, { type: WRITE, owner: 2n, unique: 102 })).toBeUndefined()
    expect(setlkw(guest, { type: WRITE, owner: 3n, unique: 103 })).toBeUndefined()
    expect(bench.server.waitMs).toBeGreaterThan(0)
    bench.retryWaits()
    expect([...bench.deferred.values()]).toEqual([undefined, undefined])
    expect(bench.errno(requests.getattr(nodeid))).toBe(0)
    setlk(guest, { type: UNLOCK, owner: 1n })
    bench.retryWaits()
    expect([...bench.deferred.values()]).toEqual([0, undefined])
    flush(guest, 2n)
    bench.retryWaits()
    expect([...bench.deferred.values()]).toEqual([0, 0])
    expect(bench.server.waitMs).toBe(-1)
  })

  test('waits for others on the host, also for flock', () => {
    const other = join(guest.bench.path)
    for (const flock of [false, true]) {
      expect(setlk(other, { type: WRITE, flock })).toBe(0)
      expect(setlkw(guest, { type: WRITE, flock })).toBeUndefined()
      guest.bench.retryWaits()
      setlk(other, { type: UNLOCK, flock })
      guest.bench.retryWaits()
    }
    expect([...guest.bench.deferred.values()]).toEqual([0, 0])
  })

  test('ends with INTERRUPT, from whatever queue', () => {
    const { bench } = guest
    setlk(guest, { type: WRITE, owner: 1n })
    expect(setlkw(guest, { type: WRITE, owner: 2n, unique: 2 ** 40 + 6 })).toBeUndefined()
    expect(setlkw(guest, { type: WRITE, owner: 3n, unique: 8 })).toBeUndefined()
    const interrupt = (unique: number): void => {
      bench.send(encodeRequest(FuseOpcode.INTERRUPT, {}, new Uint8Array(new BigUint64Array([BigInt(unique)]).buffer)))
    }
    interrupt(999)
    interrupt(2 ** 40 + 6)
    bench.retryWaits()
    expect([...bench.deferred.values()]).toEqual([Errno.EINTR, undefined])
    bench.retryWaits()
    expect([...bench.deferred.values()]).toEqual([Errno.EINTR, undefined])
  })

  test('ends when the file goes', () => {
    const { bench } = guest
    setlk(guest, { type: WRITE, owner: 1n })
    expect(setlkw(guest, { type: WRITE, owner: 2n })).toBeUndefined()
    bench.body(requests.destroy())
    bench.retryWaits()
    expect([...bench.deferred.values()].every((errno) => errno !== undefined && errno !== 0)).toBe(true)
  })
})

test('without the options the guest is told to keep its own', () => {
  const plain = join(guest.bench.path, {})
  expect(setlk(plain, { type: WRITE })).toBe(Errno.ENOSYS)
  expect(setlk(plain, { type: WRITE, flock: true })).toBe(Errno.ENOSYS)
  expect(plain.bench.errno(message(FuseOpcode.GETLK, plain, { type: WRITE }))).toBe(Errno.ENOSYS)
  expect(setlkw(plain, { type: WRITE })).toBe(Errno.ENOSYS)
})

test('a session remembers the last interrupts only', () => {
  const session = new FuseSession(FuseSession.allocate())
  for (let unique = 1; unique <= 100; unique++) session.interrupt(unique * 2, 0)
  const take = (unique: number): boolean => session.takeInterrupt(unique, 0)
  expect([take(2), take(200), take(200)]).toEqual([false, true, false])
})

test('an interrupt of one session ends nothing in the next', () => {
  const session = new FuseSession(FuseSession.allocate())
  session.interrupt(2, 7)
  expect([session.takeInterrupt(2, 8), session.takeInterrupt(2, 7)]).toEqual([false, true])
})
