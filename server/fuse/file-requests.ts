// SPDX-License-Identifier: Apache-2.0
/** Requests on open files and directories: FLUSH, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, IOCTL. */
import { Errno } from '../errno.ts'
import { FUSE_IOCTL_DIR, FuseIoctlIn, FuseIoctlOut, FuseLseekIn, FuseLseekOut } from './abi.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { getU64, isSafeOffset, setU64 } from './wire.ts'

/**
 * The commands that FUSE_IOCTL serves, and the bytes that each takes and gives (include/uapi/linux/fs.h). Linux sends
 * them for the inode flags and project attributes of a file, after it has checked that the caller may.
 */
const IOCTLS: Readonly<Record<number, { modifies: boolean; takes: number; gives: number }>> = {
  /** FS_IOC_GETFLAGS; the kernel's own number has the size of a long, its value that of an int. */
  0x80086601: { modifies: false, takes: 0, gives: 4 },
  /** FS_IOC_SETFLAGS */
  0x40086602: { modifies: true, takes: 4, gives: 0 },
  /** FS_IOC_FSGETXATTR, struct fsxattr */
  0x801c581f: { modifies: false, takes: 0, gives: 28 },
  /** FS_IOC_FSSETXATTR */
  0x401c5820: { modifies: true, takes: 28, gives: 0 },
}

export function handleLseek(context: RequestContext): number {
  const { view, reply } = context
  const offset = getU64(view, BODY + FuseLseekIn.offset)
  if (!isSafeOffset(offset)) return -Errno.ENXIO
  const position = context.fileSystem.lseek(
    context.nodeid,
    getU64(view, BODY + FuseLseekIn.fh),
    offset,
    view.getUint32(BODY + FuseLseekIn.whence, true),
  )
  if (position < 0) return position
  setU64(reply.view, reply.offset + FuseLseekOut.offset, position)
  return FuseLseekOut.SIZE
}

/** Serves the commands of the table; all others end here, so that no other reaches a host's ioctl(2). */
export function handleIoctl(context: RequestContext): number {
  const { view, bytes, end, fileSystem, reply } = context
  const command = view.getUint32(BODY + FuseIoctlIn.cmd, true)
  const known = IOCTLS[command]
  if (known === undefined) return -Errno.ENOTTY
  if (known.modifies && fileSystem.readOnly) return -Errno.EROFS
  const argument = BODY + FuseIoctlIn.SIZE
  const inSize = view.getUint32(BODY + FuseIoctlIn.in_size, true)
  const outSize = view.getUint32(BODY + FuseIoctlIn.out_size, true)
  if (inSize > end - argument || inSize < known.takes || outSize < known.gives) return -Errno.EINVAL
  if (reply.capacity < FuseIoctlOut.SIZE + known.gives) return -Errno.EINVAL
  const out = reply.offset
  reply.bytes.fill(0, out, out + FuseIoctlOut.SIZE + known.gives)
  context.name.set(bytes, argument, known.takes)
  reply.offset = out + FuseIoctlOut.SIZE
  const directory = (view.getUint32(BODY + FuseIoctlIn.flags, true) & FUSE_IOCTL_DIR) !== 0
  const fh = getU64(view, BODY + FuseIoctlIn.fh)
  const given = fileSystem.ioctl(context.nodeid, fh, directory, command, context.name, reply)
  return given < 0 ? given : FuseIoctlOut.SIZE + given
}
