// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseLseekIn, FuseLseekOut } from '../fuse/abi.ts'
import { getU64, isSafeOffset, setU64 } from '../fuse/wire.ts'
import { operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const { view, record, reply, fileSystem } = request
  const offset = getU64(view, BODY + FuseLseekIn.offset)
  if (!isSafeOffset(offset)) return -Errno.ENXIO
  record[Field.fh] = getU64(view, BODY + FuseLseekIn.fh)
  record[Field.offset] = offset
  record[Field.type] = view.getUint32(BODY + FuseLseekIn.whence, true)
  const position = request.call(fileSystem.operations.lseek)
  if (position < 0) return position
  setU64(reply.view, reply.offset + FuseLseekOut.offset, position)
  return FuseLseekOut.SIZE
}

export const lseek = operation(serve, FuseLseekIn.SIZE, FuseLseekOut.SIZE)
