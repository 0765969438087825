// SPDX-License-Identifier: Apache-2.0
/** What GETLK, SETLK and SETLKW have in common. A guest without remote locks gets ENOSYS, and keeps its own. */
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FUSE_LK_FLOCK, FuseInitFlag, FuseLkIn } from '../fuse/abi.ts'
import { getU64, isSafeOffset } from '../fuse/wire.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** F_RDLCK, F_WRLCK and F_UNLCK of fcntl(2) are 0 to 2, as on all architectures that asm-generic/fcntl.h serves. */
const F_UNLCK = 2

/** @returns 0, or `-EINVAL` for a range or type that is none */
export function takeLock({ view, record }: RequestContext): number {
  const start = getU64(view, BODY + FuseLkIn['lk.start'])
  const end = getU64(view, BODY + FuseLkIn['lk.end'])
  const type = view.getUint32(BODY + FuseLkIn['lk.type'], true)
  if (!isSafeOffset(start) || end < start || type > F_UNLCK) return -Errno.EINVAL
  record[Field.fh] = getU64(view, BODY + FuseLkIn.fh)
  record[Field.ownerLow] = view.getUint32(BODY + FuseLkIn.owner, true)
  record[Field.ownerHigh] = view.getUint32(BODY + FuseLkIn.owner + 4, true)
  record[Field.offset] = start
  record[Field.length] = isSafeOffset(end) ? end - start + 1 : 0
  record[Field.type] = type
  return 0
}

/** The lock of fcntl(2) or flock(2) that the request asks for. Never waits: `-EAGAIN` where another is in the way. */
export function setLock(request: RequestContext): number {
  const { view, session, fileSystem } = request
  const fault = takeLock(request)
  if (fault < 0) return fault
  const flock = (view.getUint32(BODY + FuseLkIn.lk_flags, true) & FUSE_LK_FLOCK) !== 0
  if (!session.has(flock ? FuseInitFlag.FLOCK_LOCKS : FuseInitFlag.POSIX_LOCKS)) return -Errno.ENOSYS
  return request.call(flock ? fileSystem.operations.flock : fileSystem.operations.setlk)
}
