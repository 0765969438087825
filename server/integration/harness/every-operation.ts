// SPDX-License-Identifier: Apache-2.0
/** All that a guest can ask of a daemon, once each: for tests of what surrounds the daemon, and must not be in its way. */
import { constants } from 'node:fs'
import { expect } from 'vitest'
import { Opcode, ROOT_ID } from './fuse-abi.ts'
import type { FuseClient } from './fuse-client.ts'
import type { Device } from './session.ts'
import { cString, pack } from './wire.ts'

/** Options with which all of it is served. */
export const ALL_OPTIONS = [
  '--sandbox=namespace',
  '--seccomp=kill',
  '--posix-acl',
  '--security-label',
  '--xattrmap=:map:security.selinux:user.virtiofs.:',
  '--writeback',
  '--allow-direct-io',
  '--preserve-noatime',
  '--killpriv-v2',
  '--posix-locks',
  '--flocks',
  '--keep-listening',
  '--log-level=debug',
]
const O_RDWR = 2
const O_TRUNC = 0o1000
const { O_DIRECT, O_NOATIME } = constants
const S_IFIFO = 0o010000
/** FATTR_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME */
const ALL_ATTRIBUTES = 0x3f
const FATTR_SIZE = 1 << 3
/** struct posix_acl_xattr_header and its entries: a user may read besides the owner, so that it is more than a mode. */
function accessList(user: number): Uint8Array {
  const none = 0xffff_ffff
  const entries = [
    [1, 6, none],
    [2, 4, user],
    [4, 4, none],
    [0x10, 4, none],
    [0x20, 4, none],
  ]
  return pack(
    ['u32', 2],
    ...entries.map(([tag = 0, permissions = 0, id = 0]) => pack(['u16', tag], ['u16', permissions], ['u32', id])),
  )
}

function lockArguments(fh: bigint, type: number, flags: number): Uint8Array {
  const range = [['u64', 0n] as const, ['u64', 100n] as const, ['u32', type] as const, ['u32', 1] as const]
  return pack(['u64', fh], ['u64', 7n], ...range, ['u32', flags], ['u32', 0])
}

/** As with --posix-acl: FUSE_SETXATTR_EXT. */
function setxattrArguments(name: string, value: Uint8Array): Uint8Array {
  return pack(['u32', value.length], ['u32', 0], ['u32', 0], ['u32', 0], cString(name), value)
}

function ioctlArguments(fh: bigint, command: number, outBytes: number): Uint8Array {
  return pack(['u64', fh], ['u32', 0], ['u32', command], ['u64', 0n], ['u32', 0], ['u32', outBytes])
}

/** Each operation by name; none may fail. `owner` is a user that the daemon can give files to. */
export function everyOperation({ client, transport }: Device, owner: number): [string, () => unknown][] {
  const file = client.create(ROOT_ID, 'file', O_RDWR)
  const { nodeid } = file.entry
  const { fh } = file
  const directory = client.mkdir(ROOT_ID, 'directory').nodeid
  const other = client.create(directory, 'other', O_RDWR)
  const directoryFh = client.opendir(directory)
  const data = Buffer.alloc(8192, 'x')
  const ends = (opcode: number, args: Uint8Array, replyBytes?: number) => () =>
    transport.call(opcode, nodeid, args, replyBytes === undefined ? {} : { replyBytes })
  return [
    ['WRITE', () => client.write(nodeid, fh, 0, data)],
    ['READ', () => expect(client.read(nodeid, fh, 0, 8192)).toEqual(data)],
    ['FLUSH', () => client.flush(nodeid, fh)],
    ['FSYNC', () => client.fsync(nodeid, fh)],
    ['FSYNC of data', () => client.fsync(nodeid, fh, true)],
    ['FSYNCDIR', () => client.fsyncdir(directory, directoryFh)],
    ['SYNCFS', () => client.syncfs(ROOT_ID)],
    ['STATFS', () => client.statfs(ROOT_ID)],
    ['STATX', () => client.statx(nodeid)],
    ['GETATTR', () => client.getattr(nodeid, fh)],
    [
      'SETATTR',
      () =>
        client.setattr(nodeid, {
          valid: ALL_ATTRIBUTES,
          mode: 0o640,
          uid: owner,
          gid: owner,
          size: 4096,
          atime: 1,
          mtime: 2,
        }),
    ],
    ['SETATTR by handle', () => client.setattr(nodeid, { valid: FATTR_SIZE | (1 << 6), fh, size: 8192 })],
    ['FALLOCATE', () => client.fallocate(nodeid, fh, 0, 1 << 20, 0)],
    ['LSEEK', () => client.lseek(nodeid, fh, 0, 4)],
    [
      'COPY_FILE_RANGE',
      () =>
        client.copyFileRange({ nodeid, fh, offset: 0 }, { nodeid: other.entry.nodeid, fh: other.fh, offset: 0 }, 4096),
    ],
    ['READDIR', () => client.readdir(directory, directoryFh, 0n)],
    ['READDIRPLUS', () => client.readdirplus(directory, directoryFh, 0n)],
    ['RELEASEDIR', () => client.releasedir(directory, directoryFh)],
    ['SETXATTR', ends(Opcode.SETXATTR, setxattrArguments('user.key', Buffer.from('value')))],
    ['GETXATTR', () => client.getxattr(nodeid, 'user.key', 100)],
    ['LISTXATTR', () => client.listxattr(nodeid, 1000)],
    ['REMOVEXATTR', () => client.removexattr(nodeid, 'user.key')],
    ['SETXATTR of an ACL', ends(Opcode.SETXATTR, setxattrArguments('system.posix_acl_access', accessList(owner)))],
    ['GETXATTR of an ACL', () => client.getxattr(nodeid, 'system.posix_acl_access', 100)],
    ['SYMLINK', () => client.symlink(ROOT_ID, 'link', 'file')],
    ['READLINK', () => client.readlink(client.lookup(ROOT_ID, 'link').nodeid)],
    ['LINK', () => client.link(nodeid, directory, 'hard')],
    ['MKNOD', () => client.mknod(ROOT_ID, 'fifo', S_IFIFO | 0o600)],
    ['TMPFILE', () => client.tmpfile(ROOT_ID, O_RDWR)],
    ['RENAME', () => client.rename(ROOT_ID, 'fifo', directory, 'fifo')],
    ['RENAME2', () => client.rename2(directory, 'fifo', ROOT_ID, 'link', 2)],
    ['UNLINK', () => client.unlink(directory, 'hard')],
    ['RMDIR', () => client.rmdir(ROOT_ID, client.mkdir(ROOT_ID, 'gone') && 'gone')],
    ['OPEN with O_DIRECT', () => client.release(nodeid, client.open(nodeid, O_RDWR | O_DIRECT))],
    ['OPEN with O_NOATIME', () => client.release(nodeid, client.open(nodeid, O_RDWR | O_NOATIME))],
    ['OPEN with O_TRUNC', () => client.release(nodeid, client.open(nodeid, O_RDWR | O_TRUNC))],
    ['SETLK', ends(32, lockArguments(fh, 1, 0))],
    ['GETLK', ends(31, lockArguments(fh, 1, 0), 24)],
    ['flock', ends(32, lockArguments(fh, 1, 1))],
    ['IOCTL FS_IOC_GETFLAGS', ends(Opcode.IOCTL, ioctlArguments(fh, 0x80086601, 8), 24)],
    ['IOCTL FS_IOC_FSGETXATTR', ends(Opcode.IOCTL, ioctlArguments(fh, 0x801c581f, 28), 44)],
    ['FORGET and LOOKUP', () => forgetAndLookUp(client, nodeid)],
    ['RELEASE', () => client.release(nodeid, fh)],
  ]
}

function forgetAndLookUp(client: FuseClient, nodeid: bigint): void {
  client.forget(nodeid, 1)
  client.lookup(ROOT_ID, 'file')
}
