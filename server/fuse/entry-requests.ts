// SPDX-License-Identifier: Apache-2.0
/** Requests that change directory entries: SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, LINK, CREATE, TMPFILE. */
import { Errno } from '../errno.ts'
import { FuseCreateIn, FuseLinkIn, FuseMkdirIn, FuseMknodIn, FuseRename2In, FuseRenameIn } from './abi.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { decodeComponent, decodeString, getU64, PATH_MAX } from './wire.ts'

/** RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT of renameat2(2). */
const RENAME_FLAGS = 7

/** The name, then the target that the link will hold. */
export function handleSymlink(context: RequestContext): number {
  const { bytes, end } = context
  const target = decodeComponent(bytes, BODY, end, context.name)
  if (target < 0) return target
  const next = decodeString(bytes, target, end, PATH_MAX - 1, Errno.ENAMETOOLONG, context.secondName)
  if (next < 0) return next
  const label = context.decodeTrailingContext(next)
  if (label < 0) return label
  return context.fileSystem.symlink(context.nodeid, context.name, context.secondName, context.caller, context.reply)
}

export function handleMknod(context: RequestContext): number {
  const { view } = context
  const next = decodeComponent(context.bytes, BODY + FuseMknodIn.SIZE, context.end, context.name)
  if (next < 0) return next
  const label = context.decodeTrailingContext(next)
  if (label < 0) return label
  return context.fileSystem.mknod(
    context.nodeid,
    context.name,
    view.getUint32(BODY + FuseMknodIn.mode, true),
    view.getUint32(BODY + FuseMknodIn.rdev, true),
    view.getUint32(BODY + FuseMknodIn.umask, true),
    context.caller,
    context.reply,
  )
}

export function handleMkdir(context: RequestContext): number {
  const { view } = context
  const next = decodeComponent(context.bytes, BODY + FuseMkdirIn.SIZE, context.end, context.name)
  if (next < 0) return next
  const label = context.decodeTrailingContext(next)
  if (label < 0) return label
  return context.fileSystem.mkdir(
    context.nodeid,
    context.name,
    view.getUint32(BODY + FuseMkdirIn.mode, true),
    view.getUint32(BODY + FuseMkdirIn.umask, true),
    context.caller,
    context.reply,
  )
}

export function handleUnlink(context: RequestContext): number {
  const next = decodeComponent(context.bytes, BODY, context.end, context.name)
  return next < 0 ? next : context.fileSystem.unlink(context.nodeid, context.name)
}

export function handleRmdir(context: RequestContext): number {
  const next = decodeComponent(context.bytes, BODY, context.end, context.name)
  return next < 0 ? next : context.fileSystem.rmdir(context.nodeid, context.name)
}

function rename(context: RequestContext, names: number, flags: number): number {
  const { bytes, end, view } = context
  const second = decodeComponent(bytes, names, end, context.name)
  if (second < 0) return second
  const next = decodeComponent(bytes, second, end, context.secondName)
  if (next < 0) return next
  const newParent = getU64(view, BODY + FuseRenameIn.newdir)
  return context.fileSystem.rename(context.nodeid, context.name, newParent, context.secondName, flags, context.caller)
}

export function handleRename(context: RequestContext): number {
  return rename(context, BODY + FuseRenameIn.SIZE, 0)
}

export function handleRename2(context: RequestContext): number {
  const flags = context.view.getUint32(BODY + FuseRename2In.flags, true)
  if ((flags & ~RENAME_FLAGS) !== 0) return -Errno.EINVAL
  return rename(context, BODY + FuseRename2In.SIZE, flags)
}

/** The header's nodeid is the new parent. */
export function handleLink(context: RequestContext): number {
  const next = decodeComponent(context.bytes, BODY + FuseLinkIn.SIZE, context.end, context.name)
  if (next < 0) return next
  const nodeid = getU64(context.view, BODY + FuseLinkIn.oldnodeid)
  return context.fileSystem.link(nodeid, context.nodeid, context.name, context.reply)
}

// asm-generic/fcntl.h
const O_NONBLOCK = 0o4000

export function handleCreate(context: RequestContext): number {
  const { view } = context
  const next = decodeComponent(context.bytes, BODY + FuseCreateIn.SIZE, context.end, context.name)
  if (next < 0) return next
  const label = context.decodeTrailingContext(next)
  if (label < 0) return label
  const flags = view.getUint32(BODY + FuseCreateIn.flags, true)
  const result = context.fileSystem.create(
    context.nodeid,
    context.name,
    flags,
    view.getUint32(BODY + FuseCreateIn.mode, true),
    view.getUint32(BODY + FuseCreateIn.umask, true),
    view.getUint32(BODY + FuseCreateIn.open_flags, true),
    context.caller,
    context.reply,
  )
  return (flags & O_NONBLOCK) === 0 ? context.waitForLease(result) : result
}

/** The name that comes with the request (Linux sends "/") means nothing. */
export function handleTmpfile(context: RequestContext): number {
  const { view } = context
  return context.fileSystem.tmpfile(
    context.nodeid,
    view.getUint32(BODY + FuseCreateIn.flags, true),
    view.getUint32(BODY + FuseCreateIn.mode, true),
    view.getUint32(BODY + FuseCreateIn.umask, true),
    view.getUint32(BODY + FuseCreateIn.open_flags, true),
    context.caller,
    context.reply,
  )
}
