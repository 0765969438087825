// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseGetxattrIn } from '../fuse/abi.ts'
import { NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { takeXattrName } from './xattr-name.ts'
import { replyXattr, takeXattrSize } from './xattr-reply.ts'

function serve(request: RequestContext): number {
  const { record, fileSystem } = request
  const size = takeXattrSize(request)
  if (size < 0) return size
  const next = takeXattrName(request, BODY + FuseGetxattrIn.SIZE)
  if (next < 0) return next
  record[Field.replySize] = size
  return replyXattr(request, size, request.call(fileSystem.operations.getxattr))
}

export const getxattr = operation(serve, FuseGetxattrIn.SIZE + NAME)
