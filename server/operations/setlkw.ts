// SPDX-License-Identifier: Apache-2.0
import { Errno } from '../errno.ts'
import { FuseLkIn } from '../fuse/abi.ts'
import { setLock } from './lock.ts'
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'

/** Linux's virtio-fs driver can't end it, but whoever holds the lock can. */
function serve(request: RequestContext): number {
  const result = setLock(request)
  return result === -Errno.EAGAIN ? request.wait(Infinity) : result
}

export const setlkw = operation(serve, FuseLkIn.SIZE)
