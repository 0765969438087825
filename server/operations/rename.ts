// SPDX-License-Identifier: Apache-2.0
/** RENAME and RENAME2. */
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseRename2In, FuseRenameIn } from '../fuse/abi.ts'
import { getU64 } from '../fuse/wire.ts'
import { putCaller } from './caller.ts'
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT of renameat2(2). */
const KNOWN_FLAGS = 7
/** Leaves a device node of the caller's in place of the name. */
const RENAME_WHITEOUT = 4

function serve(request: RequestContext, names: number, flags: number): number {
  const { view, record, fileSystem } = request
  if ((flags & ~KNOWN_FLAGS) !== 0) return -Errno.EINVAL
  const second = request.takeName(names)
  const fault = second < 0 ? second : request.takeName(second, Field.secondOffset)
  if (fault < 0) return fault
  record[Field.otherNodeid] = getU64(view, BODY + FuseRenameIn.newdir)
  record[Field.flags] = flags
  const forbidden = (flags & RENAME_WHITEOUT) === 0 ? 0 : putCaller(request, 0)
  return forbidden < 0 ? forbidden : request.callForOwner(fileSystem.operations.rename)
}

export const rename = operation(
  (request) => serve(request, BODY + FuseRenameIn.SIZE, 0),
  FuseRenameIn.SIZE + 2 * NAME,
  0,
  MODIFIES,
)

export const rename2 = operation(
  (request) => serve(request, BODY + FuseRename2In.SIZE, request.view.getUint32(BODY + FuseRename2In.flags, true)),
  FuseRename2In.SIZE + 2 * NAME,
  0,
  MODIFIES,
)
