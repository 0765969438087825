// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseStatxIn, FuseStatxOut } from '../fuse/abi.ts'
import { operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  record[Field.mask] = view.getUint32(BODY + FuseStatxIn.sx_mask, true)
  const result = request.call(fileSystem.operations.statx)
  return result < 0 ? result : FuseStatxOut.SIZE
}

export const statx = operation(serve, FuseStatxIn.SIZE, FuseStatxOut.SIZE)
