// SPDX-License-Identifier: Apache-2.0
/** Requests about an inode: SETATTR, STATX, READLINK, STATFS, SYNCFS, extended attributes. */
import { Errno } from '../errno.ts'
import {
  FUSE_COMPAT_SETXATTR_IN_SIZE,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FuseGetxattrIn,
  FuseGetxattrOut,
  FuseInitFlag,
  FuseSetattrIn,
  FuseSetattrValid,
  FuseSetxattrIn,
  FuseStatxIn,
} from './abi.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { decodeString, getI64, getU64, isSafeOffset, NAME_MAX } from './wire.ts'

export function handleSetattr(context: RequestContext): number {
  const { view, setattr } = context
  setattr.valid = view.getUint32(BODY + FuseSetattrIn.valid, true)
  setattr.fh = getU64(view, BODY + FuseSetattrIn.fh)
  setattr.size = getU64(view, BODY + FuseSetattrIn.size)
  setattr.atimeSeconds = getI64(view, BODY + FuseSetattrIn.atime)
  setattr.atimeNanoseconds = view.getUint32(BODY + FuseSetattrIn.atimensec, true)
  setattr.mtimeSeconds = getI64(view, BODY + FuseSetattrIn.mtime)
  setattr.mtimeNanoseconds = view.getUint32(BODY + FuseSetattrIn.mtimensec, true)
  setattr.mode = view.getUint32(BODY + FuseSetattrIn.mode, true)
  setattr.uid = view.getUint32(BODY + FuseSetattrIn.uid, true)
  setattr.gid = view.getUint32(BODY + FuseSetattrIn.gid, true)
  if ((setattr.valid & FuseSetattrValid.SIZE) !== 0 && !isSafeOffset(setattr.size)) return -Errno.EFBIG
  return context.waitForLease(context.fileSystem.setattr(context.nodeid, setattr, context.reply))
}

export function handleStatx(context: RequestContext): number {
  const mask = context.view.getUint32(BODY + FuseStatxIn.sx_mask, true)
  return context.fileSystem.statx(context.nodeid, mask, context.reply)
}

export function handleReadlink(context: RequestContext): number {
  return context.fileSystem.readlink(context.nodeid, context.reply)
}

export function handleStatfs(context: RequestContext): number {
  return context.fileSystem.statfs(context.nodeid, context.reply)
}

export function handleSetxattr(context: RequestContext): number {
  const { view, bytes, end, name } = context
  const extended = context.session.has(FuseInitFlag.SETXATTR_EXT)
  const head = extended ? FuseSetxattrIn.SIZE : FUSE_COMPAT_SETXATTR_IN_SIZE
  const size = view.getUint32(BODY + FuseSetxattrIn.size, true)
  const flags = view.getUint32(BODY + FuseSetxattrIn.flags, true)
  if (end - BODY < head) return -Errno.EINVAL
  const extendedFlags = extended ? view.getUint32(BODY + FuseSetxattrIn.setxattr_flags, true) : 0
  const value = decodeString(bytes, BODY + head, end, NAME_MAX, Errno.ERANGE, name)
  if (value < 0) return value
  if (size > end - value) return -Errno.EINVAL
  context.secondName.set(bytes, value, size)
  const killSgid = (extendedFlags & FUSE_SETXATTR_ACL_KILL_SGID) !== 0
  return context.fileSystem.setxattr(context.nodeid, name, context.secondName, flags, killSgid)
}

/** A size of 0 asks for the length. */
function replyXattr(context: RequestContext, size: number, length: number): number {
  if (length < 0 || size > 0) return length
  const { reply } = context
  reply.view.setUint32(reply.offset + FuseGetxattrOut.size, length, true)
  reply.view.setUint32(reply.offset + FuseGetxattrOut.padding, 0, true)
  return FuseGetxattrOut.SIZE
}

function xattrSize(context: RequestContext): number {
  const size = context.view.getUint32(BODY + FuseGetxattrIn.size, true)
  const room = size === 0 ? FuseGetxattrOut.SIZE : size
  return room > context.reply.capacity ? -Errno.EINVAL : size
}

export function handleGetxattr(context: RequestContext): number {
  const size = xattrSize(context)
  if (size < 0) return size
  const next = decodeString(
    context.bytes,
    BODY + FuseGetxattrIn.SIZE,
    context.end,
    NAME_MAX,
    Errno.ERANGE,
    context.name,
  )
  if (next < 0) return next
  return replyXattr(context, size, context.fileSystem.getxattr(context.nodeid, context.name, size, context.reply))
}

export function handleListxattr(context: RequestContext): number {
  const size = xattrSize(context)
  if (size < 0) return size
  return replyXattr(context, size, context.fileSystem.listxattr(context.nodeid, size, context.reply))
}

export function handleRemovexattr(context: RequestContext): number {
  const next = decodeString(context.bytes, BODY, context.end, NAME_MAX, Errno.ERANGE, context.name)
  if (next < 0) return next
  return context.fileSystem.removexattr(context.nodeid, context.name)
}
