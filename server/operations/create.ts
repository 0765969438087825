// SPDX-License-Identifier: Apache-2.0
import { Field } from '../../native/file-request.ts'
import { FUSE_OPEN_KILL_SUIDGID, FuseCreateIn } from '../fuse/abi.ts'
import { putCaller } from './caller.ts'
import { putLabel, S_IFREG } from './label.ts'
import { CREATED, MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

// asm-generic/fcntl.h
const O_NONBLOCK = 0o4000

function serve(request: RequestContext): number {
  const { view, record, fileSystem } = request
  const { operations } = fileSystem
  const next = request.takeName(BODY + FuseCreateIn.SIZE)
  const fault = next < 0 ? next : request.decodeTrailingContext(next)
  if (fault < 0) return fault
  const flags = view.getUint32(BODY + FuseCreateIn.flags, true)
  const openFlags = view.getUint32(BODY + FuseCreateIn.open_flags, true)
  record[Field.flags] = flags
  record[Field.mode] = view.getUint32(BODY + FuseCreateIn.mode, true)
  record[Field.killSuidgid] = (openFlags & FUSE_OPEN_KILL_SUIDGID) === 0 ? 0 : 1
  const forbidden = putCaller(request, view.getUint32(BODY + FuseCreateIn.umask, true))
  const fh = forbidden < 0 ? forbidden : request.callForOwner(operations.create)
  if (fh < 0) return (flags & O_NONBLOCK) === 0 ? request.waitForLease(fh) : fh
  const labelled = putLabel(request, S_IFREG, operations.unlink, fh)
  return labelled < 0 ? labelled : CREATED
}

export const create = operation(serve, FuseCreateIn.SIZE + NAME, CREATED, MODIFIES)
