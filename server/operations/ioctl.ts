// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FUSE_IOCTL_DIR, FuseIoctlIn, FuseIoctlOut } from '../fuse/abi.ts'
import { getU64 } from '../fuse/wire.ts'
import { operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/**
 * The commands that are served, and the bytes that each takes and gives (include/uapi/linux/fs.h). Linux sends
 * them for the inode flags and project attributes of a file, after it has checked that the caller may.
 */
const COMMANDS: Readonly<Record<number, { modifies: boolean; takes: number; gives: number }>> = {
  /** FS_IOC_GETFLAGS; the kernel's own number has the size of a long, its value that of an int. */
  0x80086601: { modifies: false, takes: 0, gives: 4 },
  /** FS_IOC_SETFLAGS */
  0x40086602: { modifies: true, takes: 4, gives: 0 },
  /** FS_IOC_FSGETXATTR, struct fsxattr */
  0x801c581f: { modifies: false, takes: 0, gives: 28 },
  /** FS_IOC_FSSETXATTR */
  0x401c5820: { modifies: true, takes: 28, gives: 0 },
}

/** Serves the commands of the table; all others end here, so that no other reaches a host's ioctl(2). */
function serve(request: RequestContext): number {
  const { view, end, record, reply, fileSystem } = request
  const command = view.getUint32(BODY + FuseIoctlIn.cmd, true)
  const known = COMMANDS[command]
  if (known === undefined) return -Errno.ENOTTY
  if (known.modifies && fileSystem.readOnly) return -Errno.EROFS
  const argument = BODY + FuseIoctlIn.SIZE
  const inSize = view.getUint32(BODY + FuseIoctlIn.in_size, true)
  const outSize = view.getUint32(BODY + FuseIoctlIn.out_size, true)
  if (inSize > end - argument || inSize < known.takes || outSize < known.gives) return -Errno.EINVAL
  if (reply.capacity < FuseIoctlOut.SIZE + known.gives) return -Errno.EINVAL
  const out = reply.offset
  reply.bytes.fill(0, out, out + FuseIoctlOut.SIZE + known.gives)
  record[Field.fh] = getU64(view, BODY + FuseIoctlIn.fh)
  record[Field.isDirectory] = (view.getUint32(BODY + FuseIoctlIn.flags, true) & FUSE_IOCTL_DIR) === 0 ? 0 : 1
  record[Field.command] = command
  record[Field.secondOffset] = argument
  record[Field.secondLength] = known.takes
  record[Field.replyOffset] = out + FuseIoctlOut.SIZE
  record[Field.replySize] = known.gives
  const given = request.call(fileSystem.operations.ioctl)
  return given < 0 ? given : FuseIoctlOut.SIZE + given
}

export const ioctl = operation(serve, FuseIoctlIn.SIZE, FuseIoctlOut.SIZE)
