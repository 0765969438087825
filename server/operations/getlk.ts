// SPDX-License-Identifier: Apache-2.0
import { Errno } from '../errno.ts'
import { FuseInitFlag, FuseLkIn, FuseLkOut } from '../fuse/abi.ts'
import { takeLock } from './lock.ts'
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'

/** The lock that is in the way. */
function serve(request: RequestContext): number {
  const fault = takeLock(request)
  if (fault < 0) return fault
  if (!request.session.has(FuseInitFlag.POSIX_LOCKS)) return -Errno.ENOSYS
  const result = request.call(request.fileSystem.operations.getlk)
  return result < 0 ? request.waitForLease(result) : FuseLkOut.SIZE
}

export const getlk = operation(serve, FuseLkIn.SIZE, FuseLkOut.SIZE)
