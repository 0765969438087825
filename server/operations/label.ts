// SPDX-License-Identifier: Apache-2.0
/** The security label that the guest sends with what it creates (`--security-label`). */
import { Field } from '../../native/file-request.ts'
import type { FileOperation } from '../../native/operations.ts'
import { Errno } from '../errno.ts'
import { FuseEntryOut, FuseInitFlag2 } from '../fuse/abi.ts'
import { getU64 } from '../fuse/wire.ts'
import type { RequestContext } from './request-context.ts'
import { nameStartsWith, putXattrName } from './xattr-name.ts'

export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000

const USER_PREFIX = new TextEncoder().encode('user.')

/**
 * Gives what has just been created, and is in the reply, the label that came with the request. Where that fails, it is
 * as if nothing had been created. A symbolic link or a device whose label would be in `user.` on the host, where only
 * files and directories have such attributes, has none.
 * @param type S_IF* of what was created
 * @param remove takes its name away; undefined where it has none
 * @param fh its handle, where it is open
 * @returns 0 or `-errno`; the record is used up
 */
export function putLabel(
  request: RequestContext,
  type: number,
  remove: FileOperation | undefined,
  fh?: number,
): number {
  const { session, caller, record, reply, fileSystem } = request
  const { operations } = fileSystem
  if (caller.labelName.length === 0 || !session.has2(FuseInitFlag2.SECURITY_CTX)) return 0
  const [nameOffset = 0, nameLength = 0] = [record[Field.nameOffset], record[Field.nameLength]]
  const nodeid = getU64(reply.view, reply.offset + FuseEntryOut.nodeid)
  record[Field.nodeid] = nodeid
  record[Field.flags] = 0
  record[Field.killSuidgid] = 0
  request.setRange(Field.secondOffset, caller.label)
  const refused = putXattrName(request, caller.labelName)
  const result = refused < 0 ? refused : request.call(operations.setxattr)
  if (result >= 0) return 0
  const bare = type !== S_IFREG && type !== S_IFDIR && result === -Errno.EPERM
  if (bare && refused === 0 && nameStartsWith(request, USER_PREFIX)) return 0

  if (fh !== undefined) {
    record[Field.fh] = fh
    request.call(operations.release)
  }
  record[Field.nodeid] = request.nodeid
  record[Field.nameOffset] = nameOffset
  record[Field.nameLength] = nameLength
  if (remove !== undefined) request.call(remove)
  record[Field.nodeid] = nodeid
  record[Field.nlookup] = 1
  request.call(operations.forget)
  return result
}
