// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FUSE_COMPAT_SETXATTR_IN_SIZE, FUSE_SETXATTR_ACL_KILL_SGID, FuseInitFlag, FuseSetxattrIn } from '../fuse/abi.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { takeXattrName } from './xattr-name.ts'

function serve(request: RequestContext): number {
  const { view, end, record, session, fileSystem } = request
  const extended = session.has(FuseInitFlag.SETXATTR_EXT)
  const head = extended ? FuseSetxattrIn.SIZE : FUSE_COMPAT_SETXATTR_IN_SIZE
  if (end - BODY < head) return -Errno.EINVAL
  const size = view.getUint32(BODY + FuseSetxattrIn.size, true)
  const extendedFlags = extended ? view.getUint32(BODY + FuseSetxattrIn.setxattr_flags, true) : 0
  const value = takeXattrName(request, BODY + head)
  if (value < 0) return value
  if (size > end - value) return -Errno.EINVAL
  record[Field.secondOffset] = value
  record[Field.secondLength] = size
  record[Field.flags] = view.getUint32(BODY + FuseSetxattrIn.flags, true)
  record[Field.killSuidgid] = (extendedFlags & FUSE_SETXATTR_ACL_KILL_SGID) === 0 ? 0 : 1
  return request.call(fileSystem.operations.setxattr)
}

export const setxattr = operation(serve, FUSE_COMPAT_SETXATTR_IN_SIZE + NAME, 0, MODIFIES)
