// SPDX-License-Identifier: Apache-2.0
/** On whose behalf an operation makes something: the ids that the host knows the guest's caller by. */
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseInitFlag } from '../fuse/abi.ts'
import { FORBIDDEN } from '../passthrough/id-translation.ts'
import type { RequestContext } from './request-context.ts'

/**
 * Writes the caller and the umask to the record.
 * @param umask which the guest has applied itself unless DONT_MASK was negotiated
 * @returns 0, or `-EPERM` for ids that the guest must not use
 */
export function putCaller(request: RequestContext, umask: number): number {
  const { record, caller, session, fileSystem } = request
  const uid = fileSystem.uids.toHost(caller.uid)
  const gid = fileSystem.gids.toHost(caller.gid)
  if (uid === FORBIDDEN || gid === FORBIDDEN) return -Errno.EPERM
  record[Field.umask] = session.has(FuseInitFlag.DONT_MASK) ? umask : 0
  record[Field.uid] = uid
  record[Field.gid] = gid
  if (caller.supplementaryGroups.length === 0) return 0
  request.setRange(Field.groupsOffset, caller.supplementaryGroups)
  return fileSystem.gids.changesNothing ? 0 : translateGroups(request)
}

function translateGroups(request: RequestContext): number {
  const { record, caller, fileSystem } = request
  const groups = caller.supplementaryGroups.copy()
  const view = new DataView(groups.buffer)
  for (let offset = 0; offset < groups.length; offset += 4) {
    const gid = fileSystem.gids.toHost(view.getUint32(offset, true))
    if (gid === FORBIDDEN) return -Errno.EPERM
    view.setUint32(offset, gid, true)
  }
  record[Field.groupsOffset] = request.append(groups)
  return 0
}
