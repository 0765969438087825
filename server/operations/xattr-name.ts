// SPDX-License-Identifier: Apache-2.0
/** Names of extended attributes: which the guest may use, and what they are on the host (`--xattr`, `--xattrmap`, `--posix-acl`). */
import { Field } from '../../native/file-request.ts'
import { Errno } from '../errno.ts'
import { FuseInitFlag } from '../fuse/abi.ts'
import { decodeString, NAME_MAX, WireBytes } from '../fuse/wire.ts'
import type { RequestContext } from './request-context.ts'

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')

/** Whether the bytes from `offset` on begin like that. */
function startsWith(bytes: Uint8Array, offset: number, length: number, prefix: Uint8Array): boolean {
  if (length < prefix.length) return false
  for (let index = 0; index < prefix.length; index++) if (bytes[offset + index] !== prefix[index]) return false
  return true
}

/**
 * Writes the host's name to the record. ENOSYS turns all extended attributes off in the guest; ACLs that nobody enforces must
 * not seem to work.
 * @returns 0 or `-errno`
 */
export function putXattrName(request: RequestContext, name: WireBytes): number {
  const { session, fileSystem } = request
  const { bytes, offset, length } = name
  if (!fileSystem.xattr) return -Errno.ENOSYS
  if (startsWith(bytes, offset, length, ACL_PREFIX) && !session.has(FuseInitFlag.POSIX_ACL)) return -Errno.EOPNOTSUPP
  request.setRange(Field.nameOffset, name)
  if (fileSystem.xattrMap === undefined) return 0
  const host = new WireBytes()
  const refused = fileSystem.xattrMap.toHost(name, host)
  if (refused < 0) return refused
  if (host.bytes !== bytes) host.offset = request.append(host.copy())
  request.setRange(Field.nameOffset, host)
  return 0
}

/** Whether the record's name begins like that. */
export function nameStartsWith({ source, record }: RequestContext, prefix: Uint8Array): boolean {
  return startsWith(source, record[Field.nameOffset] ?? 0, record[Field.nameLength] ?? 0, prefix)
}

/**
 * Takes a name from `start`, and writes the host's to the record.
 * @returns the position behind its NUL, or `-errno`
 */
export function takeXattrName(request: RequestContext, start: number): number {
  const next = decodeString(request.bytes, start, request.end, NAME_MAX, Errno.ERANGE, request.name)
  const refused = next < 0 ? next : putXattrName(request, request.name)
  return refused < 0 ? refused : next
}
