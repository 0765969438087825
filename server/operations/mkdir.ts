// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseEntryOut, FuseMkdirIn } from '../fuse/abi.ts'
import { putCaller } from './caller.ts'
import { putLabel, S_IFDIR } from './label.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const { operations } = fileSystem
  const next = request.takeName(BODY + FuseMkdirIn.SIZE)
  const fault = next < 0 ? next : request.decodeTrailingContext(next)
  if (fault < 0) return fault
  record[Field.mode] = view.getUint32(BODY + FuseMkdirIn.mode, true)
  const forbidden = putCaller(request, view.getUint32(BODY + FuseMkdirIn.umask, true))
  const made = forbidden < 0 ? forbidden : request.callForOwner(operations.mkdir)
  if (made < 0) return made
  const labelled = putLabel(request, S_IFDIR, operations.rmdir)
  return labelled < 0 ? labelled : FuseEntryOut.SIZE
}

export const mkdir = operation(serve, FuseMkdirIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
