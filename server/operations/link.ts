// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseEntryOut, FuseLinkIn } from '../fuse/abi.ts'
import { getU64 } from '../fuse/wire.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** The header's nodeid is the new parent. */
function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const next = request.takeName(BODY + FuseLinkIn.SIZE)
  if (next < 0) return next
  record[Field.otherNodeid] = getU64(view, BODY + FuseLinkIn.oldnodeid)
  const result = request.call(fileSystem.operations.link)
  return result < 0 ? result : FuseEntryOut.SIZE
}

export const link = operation(serve, FuseLinkIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
