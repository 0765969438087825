// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FuseEntryOut, FuseMknodIn } from '../fuse/abi.ts'
import { putCaller } from './caller.ts'
import { putLabel, S_IFMT } from './label.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const { operations } = fileSystem
  const next = request.takeName(BODY + FuseMknodIn.SIZE)
  const fault = next < 0 ? next : request.decodeTrailingContext(next)
  if (fault < 0) return fault
  const mode = view.getUint32(BODY + FuseMknodIn.mode, true)
  record[Field.mode] = mode
  record[Field.rdev] = view.getUint32(BODY + FuseMknodIn.rdev, true)
  const forbidden = putCaller(request, view.getUint32(BODY + FuseMknodIn.umask, true))
  const made = forbidden < 0 ? forbidden : request.callForOwner(operations.mknod)
  if (made < 0) return made
  const labelled = putLabel(request, mode & S_IFMT, operations.unlink)
  return labelled < 0 ? labelled : FuseEntryOut.SIZE
}

export const mknod = operation(serve, FuseMknodIn.SIZE + NAME, FuseEntryOut.SIZE, MODIFIES)
