// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseAttrOut, FuseSetattrIn, FuseSetattrValid } from '../fuse/abi.ts'
import { getI64, getU64, isSafeOffset } from '../fuse/wire.ts'
import { FORBIDDEN } from '../passthrough/id-translation.ts'
import { MODIFIES, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

/** The new owner as the host has it, where one is given. @returns 0 or `-EPERM` */
function translateOwner({ record, fileSystem }: RequestContext, valid: number, uid: number, gid: number): number {
  const hostUid = (valid & FuseSetattrValid.UID) === 0 ? uid : fileSystem.uids.toHost(uid)
  const hostGid = (valid & FuseSetattrValid.GID) === 0 ? gid : fileSystem.gids.toHost(gid)
  if (hostUid === FORBIDDEN || hostGid === FORBIDDEN) return -Errno.EPERM
  record[Field.uid] = hostUid
  record[Field.gid] = hostGid
  return 0
}

function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const valid = view.getUint32(BODY + FuseSetattrIn.valid, true)
  const size = getU64(view, BODY + FuseSetattrIn.size)
  if ((valid & FuseSetattrValid.SIZE) !== 0 && !isSafeOffset(size)) return -Errno.EFBIG
  record[Field.valid] = valid
  record[Field.size] = size
  record[Field.fh] = getU64(view, BODY + FuseSetattrIn.fh)
  record[Field.atime] = getI64(view, BODY + FuseSetattrIn.atime)
  record[Field.atimensec] = view.getUint32(BODY + FuseSetattrIn.atimensec, true)
  record[Field.mtime] = getI64(view, BODY + FuseSetattrIn.mtime)
  record[Field.mtimensec] = view.getUint32(BODY + FuseSetattrIn.mtimensec, true)
  record[Field.mode] = view.getUint32(BODY + FuseSetattrIn.mode, true)
  const uid = view.getUint32(BODY + FuseSetattrIn.uid, true)
  const gid = view.getUint32(BODY + FuseSetattrIn.gid, true)
  const forbidden = translateOwner(request, valid, uid, gid)
  if (forbidden < 0) return forbidden
  const result = request.call(fileSystem.operations.setattr)
  if (result === -Errno.EPERM) fileSystem.ownerRefused()
  return result < 0 ? request.waitForLease(result) : FuseAttrOut.SIZE
}

export const setattr = operation(serve, FuseSetattrIn.SIZE, FuseAttrOut.SIZE, MODIFIES)
