// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  FdWatcher,
  acceptUnix,
  adoptListener,
  drainEventFd,
  groupId,
  listenUnix,
  lockPidFile,
  openSystemLog,
  receiveWithFds,
  sendWithFds,
  writeSystemLog,
} from '../index.ts'
import { testing } from '../testing/index.ts'

const { EAGAIN } = constants.errno

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-socket-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

function pair(): [number, number] {
  const fds = testing.socketPair()
  onTestFinished(() => fds.forEach((fd) => closeSync(fd)))
  return fds
}

test('carries bytes and descriptors', () => {
  const [a, b] = pair()
  const event = testing.eventfd()
  expect(sendWithFds(a, Buffer.from('hello'), [event, event])).toBe(5)
  closeSync(event)
  const buffer = new Uint8Array(16)
  const fds: number[] = []
  expect(receiveWithFds(b, buffer, 2, 14, fds)).toBe(5)
  expect(Buffer.from(buffer.subarray(2, 7)).toString()).toBe('hello')
  expect(fds).toHaveLength(2)
  testing.eventfdWrite(fds[0] ?? -1)
  expect(drainEventFd(fds[1] ?? -1)).toBe(1)
  for (const fd of fds) closeSync(fd)
})

test('does not wait, and tells the end of the stream', () => {
  const [a, b] = testing.socketPair()
  onTestFinished(() => closeSync(b))
  expect(receiveWithFds(b, new Uint8Array(4), 0, 4, [])).toBe(-EAGAIN)
  closeSync(a)
  expect(receiveWithFds(b, new Uint8Array(4), 0, 4, [])).toBe(0)
})

test('refuses ranges outside of the buffer and lists that are none', () => {
  const [a] = pair()
  expect(() => receiveWithFds(a, new Uint8Array(4), 2, 3, [])).toThrow(RangeError)
  expect(() => receiveWithFds(a, new Uint8Array(4), -1, 1, [])).toThrow(RangeError)
  // @ts-expect-error no list
  expect(() => sendWithFds(a, new Uint8Array(4), 5)).toThrow(TypeError)
  expect(() =>
    sendWithFds(
      a,
      new Uint8Array(4),
      Array.from({ length: 254 }, () => 0),
    ),
  ).toThrow(RangeError)
})

test('listens on a path that only the owner can connect to, over what a dead process left', async () => {
  const path = join(scratch(), 'socket')
  closeSync(listenUnix(path))
  expect(existsSync(path)).toBe(true)
  const fd = listenUnix(path)
  onTestFinished(() => closeSync(fd))
  expect(statSync(path).mode & 0o777).toBe(0o700)
  expect(acceptUnix(fd)).toBe(-EAGAIN)
  const client = connect(path)
  await new Promise<void>((resolve) => client.once('connect', () => resolve()))
  const accepted = acceptUnix(fd)
  expect(accepted).toBeGreaterThanOrEqual(0)
  closeSync(accepted)
  client.destroy()
})

test('lets a group connect', () => {
  const path = join(scratch(), 'socket')
  const group = groupId('games')
  closeSync(listenUnix(path, group))
  expect(statSync(path)).toMatchObject({ uid: process.getuid?.(), gid: group })
  expect(statSync(path).mode & 0o777).toBe(0o770)
  expect(() => listenUnix(path, -1)).toThrow(RangeError)
})

test('knows groups by name', () => {
  expect(groupId('root')).toBe(0)
  expect(groupId('')).toBe(-1)
  expect(groupId('no-such-group')).toBe(-1)
})

test('adopts a socket that listens, and nothing else', () => {
  const fd = listenUnix(join(scratch(), 'socket'))
  onTestFinished(() => closeSync(fd))
  adoptListener(fd)
  expect(acceptUnix(fd)).toBe(-EAGAIN)
  const [a, b] = testing.socketPair()
  expect(() => adoptListener(a)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  closeSync(a)
  closeSync(b)
  expect(() => adoptListener(b)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  const event = testing.eventfd()
  expect(() => adoptListener(event)).toThrow(expect.objectContaining({ code: 'ENOTSOCK' }))
  closeSync(event)
})

test('the system log takes messages, and no other priorities', () => {
  openSystemLog('viewfsd-test')
  writeSystemLog(7, 'a test with 100 %s')
  expect(() => writeSystemLog(8, 'x')).toThrow(RangeError)
  expect(() => writeSystemLog(-1, 'x')).toThrow(RangeError)
})

test('never replaces a file that is no socket', () => {
  const path = join(scratch(), 'file')
  writeFileSync(path, 'precious')
  expect(() => listenUnix(path)).toThrow(expect.objectContaining({ code: 'EADDRINUSE', syscall: 'bind', path }))
  expect(readFileSync(path, 'utf8')).toBe('precious')
  expect(() => listenUnix('x'.repeat(200))).toThrow(expect.objectContaining({ code: 'ENAMETOOLONG' }))
  expect(() => listenUnix('a\0b')).toThrow(TypeError)
})

test('locks a PID file against a second daemon', () => {
  const path = join(scratch(), 'pid')
  const fd = lockPidFile(path)
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`)
  expect(() => lockPidFile(path)).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
  closeSync(fd)
  closeSync(lockPidFile(path))
})

test('a watcher calls once per arm, for data and for the end', async () => {
  const [a, b] = testing.socketPair()
  let calls = 0
  let wake: (() => void) | undefined
  const watcher = new FdWatcher(b, () => {
    calls++
    wake?.()
  })
  const nextCall = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      wake = resolve
      watcher.arm()
    })
  }
  sendWithFds(a, Buffer.from('x'), [])
  await nextCall()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(calls).toBe(1)
  await nextCall()
  expect(calls).toBe(2)
  receiveWithFds(b, new Uint8Array(1), 0, 1, [])
  closeSync(a)
  await nextCall()
  expect(calls).toBe(3)
  watcher.close()
  watcher.close()
  closeSync(b)
})

test('a watcher that is closed has no descriptor left', () => {
  const [a] = pair()
  const before = readdirSync('/proc/self/fd').length
  const watcher = new FdWatcher(a, () => {})
  watcher.close()
  watcher.arm()
  expect(readdirSync('/proc/self/fd')).toHaveLength(before)
})

test('a watcher needs a function', () => {
  // @ts-expect-error no function
  expect(() => new FdWatcher(0, 1)).toThrow(TypeError)
  const fd = openSync('/dev/null', 'r')
  closeSync(fd)
})
