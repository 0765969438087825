// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseGetxattrIn, FuseInitFlag } from '../fuse/abi.ts'
import type { XattrMap } from '../passthrough/xattr-map.ts'
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'
import { replyXattr, takeXattrSize } from './xattr-reply.ts'

/** XATTR_LIST_MAX of Linux. */
const XATTR_LIST_MAX = 65536

/** The names of the host's as the guest knows them: the whole list is needed, however little of it fits. */
function listMapped({ record, source, reply, fileSystem }: RequestContext, map: XattrMap, size: number): number {
  const list = new Uint8Array(XATTR_LIST_MAX)
  record[Field.replyOffset] = 0
  record[Field.replySize] = list.length
  const listed = fileSystem.operations.listxattr(record, source, list)
  if (listed < 0) return listed
  const length = map.listFromHost(list.subarray(0, listed))
  if (size === 0) return length
  if (length > size) return -Errno.ERANGE
  reply.bytes.set(list.subarray(0, length), reply.offset)
  return length
}

function serve(request: RequestContext): number {
  const { record, session, fileSystem } = request
  const size = takeXattrSize(request)
  if (size < 0) return size
  if (!fileSystem.xattr) return -Errno.ENOSYS
  record[Field.hideAcls] = session.has(FuseInitFlag.POSIX_ACL) ? 0 : 1
  record[Field.replySize] = size
  const { xattrMap, operations } = fileSystem
  const length = xattrMap === undefined ? request.call(operations.listxattr) : listMapped(request, xattrMap, size)
  return replyXattr(request, size, length)
}

export const listxattr = operation(serve, FuseGetxattrIn.SIZE)
