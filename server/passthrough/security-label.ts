// SPDX-License-Identifier: Apache-2.0
/** Whether `--security-label` can be kept at all: found out when the daemon starts, not by each file that a guest makes. */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { FUSE_ROOT_ID } from '../fuse/abi.ts'
import type { FileSystem } from '../fuse/file-system.ts'
import { WireBytes } from '../fuse/wire.ts'
import { XattrMap } from './xattr-map.ts'

/** What SELinux guests send; other modules' names are kept, or not, by the same rules. */
const LABEL = 'security.selinux'
const XATTR_CREATE = 1
const XATTR_REPLACE = 2
/** The longest value there is. */
const VALUE_BYTES = 65536

const { EACCES, EOPNOTSUPP, EPERM } = constants.errno
/** What says that none will ever be kept. */
const REFUSALS: readonly number[] = [EACCES, EOPNOTSUPP, EPERM]

function wireName(text: string): WireBytes {
  const bytes = new TextEncoder().encode(`${text}\0`)
  const name = new WireBytes()
  name.set(bytes, 0, bytes.length - 1)
  return name
}

/** Who refuses to keep a label. */
function explainRefusal(xattrMap: string | undefined): string {
  const host = wireName(LABEL)
  if (xattrMap !== undefined && new XattrMap(xattrMap).toHost(wireName(LABEL), host) < 0) {
    return `the rules of --xattrmap refuse ${LABEL}`
  }
  const name = new TextDecoder().decode(host.bytes.subarray(host.offset, host.offset + host.length))
  return `this process can't write ${name} in the shared directory`
}

/**
 * Asks for a change of the shared directory's own label that changes nothing, whether it has one or not.
 * @returns one sentence that says what to do, or undefined where labels can be kept
 */
export function explainLabels(fileSystem: FileSystem, xattrMap: string | undefined): string | undefined {
  if (fileSystem.readOnly) return undefined
  const name = wireName(LABEL)
  const bytes = new Uint8Array(VALUE_BYTES)
  const reply = { bytes, view: new DataView(bytes.buffer), offset: 0, capacity: bytes.length }
  const length = fileSystem.getxattr(FUSE_ROOT_ID, name, VALUE_BYTES, reply)
  const value = new WireBytes()
  value.set(bytes, 0, Math.max(0, length))
  const result = fileSystem.setxattr(FUSE_ROOT_ID, name, value, length < 0 ? XATTR_REPLACE : XATTR_CREATE, false)
  if (!REFUSALS.includes(-result)) return undefined
  return (
    `--security-label: ${explainRefusal(xattrMap)} (${getSystemErrorName(result)}); use --xattrmap=:map:${LABEL}:user.virtiofs.: ` +
    `or, for labels of symbolic links and devices, too, --xattrmap=:map:${LABEL}:trusted.virtiofs.: with --modcaps=+sys_admin`
  )
}
