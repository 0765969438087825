// SPDX-License-Identifier: Apache-2.0
/**
 * A hostile guest: sequences of well-formed requests with nodeids, handles, names and flags that were never given out.
 * Every one must be answered, the tables must stay consistent, and nothing outside of the shared directory may change.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FuseOpcode } from '../../server/fuse/abi.ts'
import { requests } from '../../server/fuse/testing/messages.ts'
import { PassthroughBench } from './testing/passthrough-bench.ts'

let scratch: string
beforeEach(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'viewfsd-fuzz-'))
  fs.mkdirSync(path.join(scratch, 'outside'))
  fs.writeFileSync(path.join(scratch, 'outside', 'secret'), 'secret')
  fs.mkdirSync(path.join(scratch, 'share'))
})
afterEach(() => {
  emptyShare()
  fs.rmSync(scratch, { recursive: true })
})

/** The names are bytes of any kind, which node:fs would not find again. */
function emptyShare(): void {
  const share = path.join(scratch, 'share')
  execFileSync('rm', ['-rf', share])
  fs.mkdirSync(share)
}

function describeOutside(): unknown {
  const { mode, uid, gid, size, mtimeMs, nlink } = fs.statSync(path.join(scratch, 'outside', 'secret'))
  return [fs.readdirSync(scratch), fs.readdirSync(path.join(scratch, 'outside')), mode, uid, gid, size, mtimeMs, nlink]
}

const nodeid = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 12 }) },
  fc.constantFrom(0n, (1n << 64n) - 1n),
)
const fh = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 30 }) }, fc.constantFrom(0n, (1n << 64n) - 1n))
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'c', 'd', 'up') },
  fc.constantFrom('.', '..', '', '../outside', 'up/secret', '/etc/passwd', 'x'.repeat(255), 'x'.repeat(256)),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => bytes.filter((byte) => byte !== 0)),
)
const target = fc.constantFrom('../outside', '../outside/secret', '/etc', 'a', '.', '..')
// Small, or beyond what any file system here can hold: never so that the disk fills up.
const offset = fc.oneof(fc.nat(1 << 18), fc.constantFrom(1n << 60n, 1n << 63n, (1n << 64n) - 1n))
const word = fc.integer({ min: 0, max: 0xffff_ffff })
const mode = fc.integer({ min: 0, max: 0o7777 })
const by = fc.record({ uid: fc.constantFrom(0, 0, 1000, 0xffff_ffff), gid: fc.constantFrom(0, 1000) })
const type = fc.constantFrom(0o100000, 0o10000, 0o140000, 0o20000, 0o60000, 0o40000, 0o120000)

const request = fc.oneof(
  fc.tuple(nodeid, name).map(([node, text]) => requests.lookup(node, text)),
  fc.tuple(nodeid, name, name, mode).map(([node, text, , bits]) => requests.mkdir(node, text, bits)),
  fc
    .tuple(nodeid, name, mode, by, word)
    .map(([node, text, bits, who, flags]) => requests.create(node, text, flags, bits, 0, who)),
  fc
    .tuple(nodeid, name, type, mode, by)
    .map(([node, text, kind, bits, who]) => requests.mknod(node, text, kind | bits, 0x103, 0, who)),
  fc.tuple(nodeid, name, target, by).map(([node, text, to, who]) => requests.symlink(node, text, to, who)),
  fc.tuple(nodeid, name, nodeid).map(([node, text, old]) => requests.link(node, text, old)),
  fc.tuple(nodeid, name).map(([node, text]) => requests.unlink(node, text)),
  fc.tuple(nodeid, name).map(([node, text]) => requests.rmdir(node, text)),
  fc
    .tuple(nodeid, name, nodeid, name, fc.integer({ min: 0, max: 8 }))
    .map(([from, old, to, text, flags]) => requests.rename2(from, old, to, text, flags)),
  fc.tuple(nodeid, word).map(([node, flags]) => requests.open(node, flags)),
  fc.tuple(nodeid, fc.constantFrom(0, 1, 2, 0o1002)).map(([node, flags]) => requests.open(node, flags)),
  fc.tuple(nodeid, word, mode, by).map(([node, flags, bits, who]) => requests.tmpfile(node, flags, bits, who)),
  fc.tuple(nodeid, fh, offset, fc.nat(70_000)).map(([node, handle, at, size]) => requests.read(node, handle, at, size)),
  fc
    .tuple(nodeid, fh, offset, fc.uint8Array({ maxLength: 100 }), word, fc.nat(7))
    .map(([node, handle, at, data, flags, kind]) => requests.write(node, handle, at, data, flags, kind)),
  fc.tuple(nodeid, fh).map(([node, handle]) => requests.release(node, handle)),
  fc.tuple(nodeid, fh).map(([node, handle]) => requests.releasedir(node, handle)),
  fc.tuple(nodeid, fh).map(([node, handle]) => requests.fsync(node, handle)),
  fc.tuple(nodeid, fh).map(([node, handle]) => requests.flush(node, handle)),
  fc
    .tuple(nodeid, fh, fc.nat(0x7f), offset, fc.nat(1 << 16))
    .map(([node, handle, bits, at, length]) => requests.fallocate(node, handle, bits, at, length)),
  fc.tuple(nodeid, fh, offset, fc.nat(6)).map(([node, handle, at, whence]) => requests.lseek(node, handle, at, whence)),
  fc
    .tuple(nodeid, fh, offset, nodeid, fh, offset, fc.nat(1 << 16))
    .map(([node, handle, from, other, handle2, to, len]) =>
      requests.copyFileRange(node, {
        fh_in: handle,
        off_in: from,
        nodeid_out: other,
        fh_out: handle2,
        off_out: to,
        len,
      }),
    ),
  nodeid.map((node) => requests.opendir(node)),
  fc
    .tuple(nodeid, fh, offset, fc.nat(5000))
    .map(([node, handle, at, size]) => requests.readdir(node, handle, at, size)),
  fc
    .tuple(nodeid, fh, offset, fc.nat(5000))
    .map(([node, handle, at, size]) => requests.readdirplus(node, handle, at, size)),
  fc
    .tuple(nodeid, fc.nat(0xfff), fh, offset, word, word, mode)
    .map(([node, valid, handle, size, uid, gid, bits]) =>
      requests.setattr(node, { valid, fh: handle, size, uid, gid, mode: bits, atimensec: uid, mtimensec: gid }),
    ),
  nodeid.map((node) => requests.getattr(node)),
  fc.tuple(nodeid, word).map(([node, mask]) => requests.statx(node, mask)),
  nodeid.map((node) => requests.readlink(node)),
  nodeid.map((node) => requests.statfs(node)),
  fc
    .tuple(nodeid, fc.constantFrom('user.a', 'trusted.b', 'system.posix_acl_access', 'x'))
    .map(([node, key]) => requests.setxattr(node, key, new Uint8Array(8))),
  fc.tuple(nodeid, fc.nat(100)).map(([node, size]) => requests.getxattr(node, 'user.a', size)),
  fc.tuple(nodeid, fc.nat(100)).map(([node, size]) => requests.listxattr(node, size)),
  nodeid.map((node) => requests.removexattr(node, 'user.a')),
  fc.tuple(nodeid, offset).map(([node, nlookup]) => requests.forget(node, nlookup)),
  fc
    .tuple(nodeid, offset, offset, fc.nat(3))
    .map(([node, foffset, moffset, flags]) => requests.setupmapping(node, foffset, 1 << 21, moffset, flags)),
)

test('no sequence of requests leaves the directory, the protocol or the tables', () => {
  const before = describeOutside()
  fc.assert(
    fc.property(fc.array(request, { minLength: 20, maxLength: 150 }), (messages) => {
      using bench = new PassthroughBench({}, path.join(scratch, 'share'))
      bench.send(requests.symlink(1, 'up', '../outside'))
      bench.send(requests.mkdir(1, 'd', 0o755))
      for (const message of messages) bench.send(message, 8192)
      const opcodes = messages.map((message) => message[4])
      const opens = opcodes.filter((opcode) => opcode === FuseOpcode.OPEN || opcode === FuseOpcode.OPENDIR).length
      const creates = opcodes.filter((opcode) => opcode === FuseOpcode.CREATE || opcode === FuseOpcode.TMPFILE).length
      expect(bench.handles).toBeLessThanOrEqual(opens + creates)
      bench.body(requests.destroy())
      expect([bench.inodes, bench.handles]).toEqual([1, 0])
      emptyShare()
    }),
    { numRuns: 150, interruptAfterTimeLimit: 15_000 },
  )
  expect(describeOutside()).toEqual(before)
  expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0])
}, 120_000)
