// SPDX-License-Identifier: Apache-2.0
/** The replies to GETXATTR and LISTXATTR. A size of 0 asks for the length alone, as struct fuse_getxattr_out. */
import { Errno } from '../errno.ts'
import { FuseGetxattrIn, FuseGetxattrOut } from '../fuse/abi.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** @returns the size that the guest asks for, or `-EINVAL` where it does not fit */
export function takeXattrSize({ view, reply }: RequestContext): number {
  const size = view.getUint32(BODY + FuseGetxattrIn.size, true)
  const room = size === 0 ? FuseGetxattrOut.SIZE : size
  return room > reply.capacity ? -Errno.EINVAL : size
}

export function replyXattr({ reply }: RequestContext, size: number, length: number): number {
  if (length < 0 || size > 0) return length
  reply.view.setUint32(reply.offset + FuseGetxattrOut.size, length, true)
  reply.view.setUint32(reply.offset + FuseGetxattrOut.padding, 0, true)
  return FuseGetxattrOut.SIZE
}
