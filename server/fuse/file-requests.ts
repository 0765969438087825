// SPDX-License-Identifier: Apache-2.0
/** Requests on open files and directories: FLUSH, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, IOCTL. */
import { Errno } from '../errno.ts'
import {
  FUSE_FSYNC_FDATASYNC,
  FUSE_IOCTL_DIR,
  FuseCopyFileRangeIn,
  FuseCopyFileRangeOut,
  FuseFallocateIn,
  FuseFlushIn,
  FuseFsyncIn,
  FuseIoctlIn,
  FuseIoctlOut,
  FuseLseekIn,
  FuseLseekOut,
  FuseWriteOut,
} from './abi.ts'
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

/** Largest COPY_FILE_RANGE that the old reply's u32 can report; Linux stops there by itself. */
const MAX_COPY_32 = 0xffff_f000

export function handleFlush(context: RequestContext): number {
  const { view, nodeid, fileSystem } = context
  const owner = BODY + FuseFlushIn.lock_owner
  fileSystem.dropLocks(nodeid, view.getUint32(owner, true), view.getUint32(owner + 4, true))
  return fileSystem.flush(nodeid, getU64(view, BODY + FuseFlushIn.fh))
}

export function handleFsync(context: RequestContext): number {
  const datasync = (context.view.getUint32(BODY + FuseFsyncIn.fsync_flags, true) & FUSE_FSYNC_FDATASYNC) !== 0
  return context.fileSystem.fsync(context.nodeid, getU64(context.view, BODY + FuseFsyncIn.fh), datasync)
}

export function handleFallocate(context: RequestContext): number {
  const { view } = context
  const offset = getU64(view, BODY + FuseFallocateIn.offset)
  const length = getU64(view, BODY + FuseFallocateIn.length)
  if (!isSafeOffset(offset + length)) return -Errno.EFBIG
  return context.fileSystem.fallocate(
    context.nodeid,
    getU64(view, BODY + FuseFallocateIn.fh),
    view.getUint32(BODY + FuseFallocateIn.mode, true),
    offset,
    length,
    context.clearsSetid,
  )
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

function copyFileRange(context: RequestContext, maximum: number): number {
  const { view } = context
  const offsetIn = getU64(view, BODY + FuseCopyFileRangeIn.off_in)
  const offsetOut = getU64(view, BODY + FuseCopyFileRangeIn.off_out)
  if (!isSafeOffset(offsetIn) || !isSafeOffset(offsetOut)) return -Errno.EFBIG
  const room = Number.MAX_SAFE_INTEGER - Math.max(offsetIn, offsetOut)
  const length = Math.min(getU64(view, BODY + FuseCopyFileRangeIn.len), maximum, room)
  const flags = getU64(view, BODY + FuseCopyFileRangeIn.flags)
  if (flags !== 0) return -Errno.EINVAL
  return context.fileSystem.copyFileRange(
    context.nodeid,
    getU64(view, BODY + FuseCopyFileRangeIn.fh_in),
    offsetIn,
    getU64(view, BODY + FuseCopyFileRangeIn.nodeid_out),
    getU64(view, BODY + FuseCopyFileRangeIn.fh_out),
    offsetOut,
    length,
    context.clearsSetid,
  )
}

export function handleCopyFileRange(context: RequestContext): number {
  const { reply } = context
  const copied = copyFileRange(context, MAX_COPY_32)
  if (copied < 0) return copied
  reply.view.setUint32(reply.offset + FuseWriteOut.size, copied, true)
  reply.view.setUint32(reply.offset + FuseWriteOut.padding, 0, true)
  return FuseWriteOut.SIZE
}

export function handleCopyFileRange64(context: RequestContext): number {
  const { reply } = context
  const copied = copyFileRange(context, Number.MAX_SAFE_INTEGER)
  if (copied < 0) return copied
  setU64(reply.view, reply.offset + FuseCopyFileRangeOut.bytes_copied, copied)
  return FuseCopyFileRangeOut.SIZE
}

export function handleFsyncdir(context: RequestContext): number {
  const datasync = (context.view.getUint32(BODY + FuseFsyncIn.fsync_flags, true) & FUSE_FSYNC_FDATASYNC) !== 0
  return context.fileSystem.fsyncdir(context.nodeid, getU64(context.view, BODY + FuseFsyncIn.fh), datasync)
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
