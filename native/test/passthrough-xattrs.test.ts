// SPDX-License-Identifier: Apache-2.0
/** Extended attributes of the passthrough file system. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Errno } from '../../server/errno.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import type { PassthroughOptions } from '../../server/passthrough/options.ts'
import { PassthroughBench, ROOT } from './testing/passthrough-bench.ts'

const XATTR_CREATE = 1
const XATTR_REPLACE = 2
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

/** The host's own view: `get PATH NAME` writes a value to stdout, `set PATH NAME` takes it from stdin. */
const TOOL = `#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
int main(int argc, char **argv) {
  char value[65536];
  ssize_t length;
  if (argc != 4) return 2;
  if (strcmp(argv[1], "get") == 0) {
    length = lgetxattr(argv[2], argv[3], value, sizeof(value));
    return length < 0 || fwrite(value, 1, length, stdout) != (size_t)length;
  }
  length = fread(value, 1, sizeof(value), stdin);
  return lsetxattr(argv[2], argv[3], value, length, 0) < 0;
}
`
let toolDirectory: string
let tool: string
beforeAll(() => {
  toolDirectory = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-xattr-'))
  tool = path.join(toolDirectory, 'xattr')
  fs.writeFileSync(`${tool}.c`, TOOL)
  execFileSync(process.env['CC'] ?? 'cc', ['-o', tool, `${tool}.c`])
})
afterAll(() => fs.rmSync(toolDirectory, { recursive: true }))

let bench: PassthroughBench
let file: number
function start(options: Partial<PassthroughOptions> = {}): void {
  bench = new PassthroughBench(options)
  fs.writeFileSync(bench.at('file'), '')
  file = bench.lookup('file').nodeid
}
beforeEach(() => start())
afterEach(() => {
  bench[Symbol.dispose]()
})

/** What GETXATTR or LISTXATTR answers where only the length is asked for. */
function length(message: Uint8Array): number {
  const body = bench.body(message)
  expect(body.length).toBe(8)
  return new DataView(body.buffer).getUint32(0, true)
}

function list(nodeid: number): string[] {
  return Buffer.from(bench.body(requests.listxattr(nodeid, 4096)))
    .toString()
    .split('\0')
    .slice(0, -1)
    .toSorted()
}

test('set, get, list, remove', () => {
  const value = Uint8Array.from({ length: 256 }, (_, index) => index)
  expect(bench.errno(requests.getxattr(file, 'user.a', 100))).toBe(Errno.ENODATA)
  expect(bench.errno(requests.setxattr(file, 'user.a', value))).toBe(0)
  expect(bench.body(requests.getxattr(file, 'user.a', 256))).toEqual(value)
  expect(bench.body(requests.getxattr(file, 'user.a', 4096))).toEqual(value)
  expect(length(requests.getxattr(file, 'user.a', 0))).toBe(256)
  expect(bench.errno(requests.getxattr(file, 'user.a', 255))).toBe(Errno.ERANGE)
  bench.body(requests.setxattr(file, 'user.b', bytes('')))
  expect(list(file)).toEqual(['user.a', 'user.b'])
  expect(length(requests.listxattr(file, 0))).toBe(14)
  expect(bench.errno(requests.listxattr(file, 13))).toBe(Errno.ERANGE)
  expect(bench.body(requests.getxattr(file, 'user.b', 100)).length).toBe(0)
  expect(bench.errno(requests.removexattr(file, 'user.a'))).toBe(0)
  expect(bench.errno(requests.removexattr(file, 'user.a'))).toBe(Errno.ENODATA)
  expect(list(file)).toEqual(['user.b'])
})

test('the host sees the same', () => {
  bench.body(requests.setxattr(file, 'user.a', bytes('value')))
  const output = execFileSync(tool, ['get', bench.at('file'), 'user.a'], { encoding: 'utf8' })
  expect(output).toBe('value')
})

test('XATTR_CREATE and XATTR_REPLACE', () => {
  expect(bench.errno(requests.setxattr(file, 'user.a', bytes('1'), XATTR_REPLACE))).toBe(Errno.ENODATA)
  expect(bench.errno(requests.setxattr(file, 'user.a', bytes('1'), XATTR_CREATE))).toBe(0)
  expect(bench.errno(requests.setxattr(file, 'user.a', bytes('1'), XATTR_CREATE))).toBe(Errno.EEXIST)
  expect(bench.errno(requests.setxattr(file, 'user.a', bytes('1'), 64))).toBe(Errno.EINVAL)
})

test('file capabilities', () => {
  // cap_net_raw=ep, as `setcap` stores it
  const capability = Uint8Array.from([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  expect(bench.errno(requests.setxattr(file, 'security.capability', capability))).toBe(0)
  expect(bench.body(requests.getxattr(file, 'security.capability', 100))).toEqual(capability)
})

test('symbolic links, FIFOs and directories have their own', () => {
  fs.symlinkSync('file', bench.at('link'))
  fs.mkdirSync(bench.at('dir'))
  const link = bench.lookup('link').nodeid
  const dir = bench.lookup('dir').nodeid
  const fifo = bench.entry(requests.mknod(ROOT, 'fifo', 0o10600)).nodeid
  for (const nodeid of [link, dir, fifo]) {
    expect(bench.errno(requests.setxattr(nodeid, 'trusted.a', bytes(`${nodeid}`)))).toBe(0)
    expect(list(nodeid)).toEqual(['trusted.a'])
  }
  for (const nodeid of [link, dir, fifo]) {
    expect(Buffer.from(bench.body(requests.getxattr(nodeid, 'trusted.a', 100))).toString()).toBe(`${nodeid}`)
  }
  expect(list(file)).toEqual([])
  expect(bench.errno(requests.setxattr(link, 'user.a', bytes('x')))).toBe(Errno.EPERM)
})

test('values of 64 KiB, and what the host finds too long', () => {
  expect([0, Errno.ENOSPC]).toContain(bench.errno(requests.setxattr(file, 'user.big', new Uint8Array(65536))))
  expect(bench.errno(requests.setxattr(file, 'user.big', new Uint8Array(65537)))).toBe(Errno.E2BIG)
  expect(bench.errno(requests.setxattr(file, `user.${'x'.repeat(251)}`, bytes('')))).toBe(Errno.ERANGE)
  expect(bench.errno(requests.setxattr(file, 'nonsense.a', bytes('')))).toBe(Errno.EOPNOTSUPP)
})

test('a value that is longer than its request is refused', () => {
  const message = requests.setxattr(file, 'user.a', bytes('12345'))
  new DataView(message.buffer).setUint32(40, 6, true)
  expect(bench.errno(message)).toBe(Errno.EINVAL)
})

describe('options', () => {
  const ACCESS = 'system.posix_acl_access'
  /** u::rwx, u:1001:rw-, g::r-x, m::rwx, o::r-- as the xattr has it. */
  const acl = Uint8Array.from(
    [
      [2, 0, 0, 0],
      [1, 0, 7, 0, 255, 255, 255, 255],
      [2, 0, 6, 0, 0xe9, 3, 0, 0],
      [4, 0, 5, 0, 255, 255, 255, 255],
      [16, 0, 7, 0, 255, 255, 255, 255],
      [32, 0, 4, 0, 255, 255, 255, 255],
    ].flat(),
  )

  test('without xattr the guest learns that there are none', () => {
    bench[Symbol.dispose]()
    start({ xattr: false })
    expect(bench.errno(requests.getxattr(file, 'user.a', 0))).toBe(Errno.ENOSYS)
    expect(bench.errno(requests.listxattr(file, 0))).toBe(Errno.ENOSYS)
    expect(bench.errno(requests.setxattr(file, 'user.a', bytes('')))).toBe(Errno.ENOSYS)
    expect(bench.errno(requests.removexattr(file, 'user.a'))).toBe(Errno.ENOSYS)
  })

  test('ACLs that nobody enforces are hidden', () => {
    execFileSync(tool, ['set', bench.at('file'), ACCESS], { input: acl })
    bench.body(requests.setxattr(file, 'user.a', bytes('')))
    expect(list(file)).toEqual(['user.a'])
    expect(length(requests.listxattr(file, 0))).toBe(7)
    expect(bench.errno(requests.getxattr(file, ACCESS, 0))).toBe(Errno.EOPNOTSUPP)
    expect(bench.errno(requests.setxattr(file, ACCESS, acl))).toBe(Errno.EOPNOTSUPP)
    expect(bench.errno(requests.removexattr(file, ACCESS))).toBe(Errno.EOPNOTSUPP)
  })

  test('with posixAcl they are kept, and a default ACL takes the umask’s place', () => {
    bench[Symbol.dispose]()
    start({ posixAcl: 'always' })
    expect(bench.errno(requests.setxattr(file, ACCESS, acl, 0, true))).toBe(0)
    expect(list(file)).toEqual([ACCESS])
    expect(bench.body(requests.getxattr(file, ACCESS, 100))).toEqual(acl)
    // Without a default ACL the host applies the umask that came with the request.
    const plain = bench.entry(requests.mknod(ROOT, 'plain', 0o100666, 0, 0o27))
    expect(plain.attributes.mode & 0o777).toBe(0o640)
    fs.mkdirSync(bench.at('dir'))
    const dir = bench.lookup('dir').nodeid
    expect(bench.errno(requests.setxattr(dir, 'system.posix_acl_default', acl, 0, true))).toBe(0)
    const inherited = bench.entry(requests.mknod(dir, 'inherited', 0o100666, 0, 0o777))
    expect(inherited.attributes.mode & 0o777).toBe(0o664)
  })
})
