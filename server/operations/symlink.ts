// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseEntryOut } from '../fuse/abi.ts'
import { PATH_MAX } from '../fuse/wire.ts'
import { putCaller } from './caller.ts'
import { putLabel, S_IFLNK } from './label.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** The name, then the target that the link will hold. */
function serve(request: RequestContext): number {
  const { operations } = request.fileSystem
  const target = request.takeName(BODY)
  if (target < 0) return target
  const next = request.takeText(target, PATH_MAX - 1, Errno.ENAMETOOLONG, Field.secondOffset)
  const fault = next < 0 ? next : request.decodeTrailingContext(next)
  if (fault < 0) return fault
  const forbidden = putCaller(request, 0)
  const made = forbidden < 0 ? forbidden : request.callForOwner(operations.symlink)
  if (made < 0) return made
  const labelled = putLabel(request, S_IFLNK, operations.unlink)
  return labelled < 0 ? labelled : FuseEntryOut.SIZE
}

export const symlink = operation(serve, 2 * NAME, FuseEntryOut.SIZE, MODIFIES)
