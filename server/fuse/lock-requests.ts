// SPDX-License-Identifier: Apache-2.0
/** GETLK, SETLK, SETLKW and INTERRUPT. A file system without remote locks answers ENOSYS, and the guest keeps its own. */
import { Errno } from '../errno.ts'
import { FUSE_LK_FLOCK, FuseInterruptIn, FuseLkIn } from './abi.ts'
import { BODY, COMPLETED, type RequestContext } from './request-context.ts'
import { getU64, isSafeOffset } from './wire.ts'

/** @returns 0, or `-EINVAL` for a range or type that is none */
function decodeLock(context: RequestContext): number {
  const { view, lock } = context
  const start = getU64(view, BODY + FuseLkIn['lk.start'])
  const end = getU64(view, BODY + FuseLkIn['lk.end'])
  lock.nodeid = context.nodeid
  lock.fh = getU64(view, BODY + FuseLkIn.fh)
  lock.ownerLow = view.getUint32(BODY + FuseLkIn.owner, true)
  lock.ownerHigh = view.getUint32(BODY + FuseLkIn.owner + 4, true)
  lock.start = start
  lock.length = isSafeOffset(end) ? end - start + 1 : 0
  lock.type = view.getUint32(BODY + FuseLkIn['lk.type'], true)
  lock.flock = (view.getUint32(BODY + FuseLkIn.lk_flags, true) & FUSE_LK_FLOCK) !== 0
  return !isSafeOffset(start) || end < start || lock.type > 2 ? -Errno.EINVAL : 0
}

export function handleGetlk(context: RequestContext): number {
  const fault = decodeLock(context)
  return fault < 0 ? fault : context.waitForLease(context.fileSystem.getlk(context.lock, context.reply))
}

export function handleSetlk(context: RequestContext): number {
  const fault = decodeLock(context)
  return fault < 0 ? fault : context.fileSystem.setlk(context.lock)
}

/** Linux's virtio-fs driver can't end it, but whoever holds the lock can. */
export function handleSetlkw(context: RequestContext): number {
  const fault = decodeLock(context)
  if (fault < 0) return fault
  const result = context.fileSystem.setlk(context.lock)
  return result === -Errno.EAGAIN ? context.wait(Infinity) : result
}

/** Ends a request that waits; any other request is over before its INTERRUPT could be read. No reply. */
export function handleInterrupt(context: RequestContext): number {
  const { channel, session, view } = context
  session.interrupt(getU64(view, BODY + FuseInterruptIn.unique), channel.session)
  channel.noReply()
  return COMPLETED
}
