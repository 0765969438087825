// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseCreateIn } from '../fuse/abi.ts'
import { putCaller } from './caller.ts'
import { putLabel, S_IFREG } from './label.ts'
import { CREATED, MODIFIES, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** The name that comes with the request (Linux sends "/") means nothing. */
function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const { operations } = fileSystem
  record[Field.flags] = view.getUint32(BODY + FuseCreateIn.flags, true)
  record[Field.mode] = view.getUint32(BODY + FuseCreateIn.mode, true)
  const forbidden = putCaller(request, view.getUint32(BODY + FuseCreateIn.umask, true))
  const fh = forbidden < 0 ? forbidden : request.callForOwner(operations.tmpfile)
  if (fh < 0) return fh
  const labelled = putLabel(request, S_IFREG, undefined, fh)
  return labelled < 0 ? labelled : CREATED
}

export const tmpfile = operation(serve, FuseCreateIn.SIZE, CREATED, MODIFIES)
