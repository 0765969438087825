// SPDX-License-Identifier: Apache-2.0
/**
 * The names of security labels (`--security-label`), and whether they can be kept at all: found out when the daemon starts, not by
 * each file that a guest makes.
 */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { Field, FIELDS } from '../../native/file-request.ts'
import { FUSE_ROOT_ID } from '../fuse/abi.ts'
import { WireBytes } from '../fuse/wire.ts'
import type { FileSystem } from './file-system.ts'
import type { XattrMap } from './xattr-map.ts'

/** What SELinux guests send; the others' names are kept, or not, by the same rules. */
const LABEL = 'security.selinux'
/** What may come with what a guest makes: of the modules of Linux that label files. */
export const LABELS: readonly string[] = [LABEL, 'security.SMACK64']
const XATTR_CREATE = 1
const XATTR_REPLACE = 2
/** The longest value there is. */
const VALUE_BYTES = 65536

const { EACCES, EOPNOTSUPP, EPERM } = constants.errno
/** What says that none will ever be kept. */
const REFUSALS: readonly number[] = [EACCES, EOPNOTSUPP, EPERM]

/** The host's name for a label; undefined where the rules refuse it. */
export function hostLabel(label: string, xattrMap: XattrMap | undefined): string | undefined {
  if (xattrMap === undefined) return label
  const bytes = new TextEncoder().encode(`${label}\0`)
  const [name, host] = [new WireBytes(), new WireBytes()]
  name.set(bytes, 0, bytes.length - 1)
  return xattrMap.toHost(name, host) < 0 ? undefined : new TextDecoder().decode(host.copy())
}

/**
 * Asks for a change of the shared directory's own label that changes nothing, whether it has one or not.
 * @returns 0 or `-errno`
 */
function tryLabel({ directory, operations }: FileSystem, hostName: string): number {
  const name = new TextEncoder().encode(`${hostName}\0`)
  const value = new Uint8Array(VALUE_BYTES)
  const record = new Float64Array(FIELDS)
  record[Field.directory] = directory
  record[Field.nodeid] = FUSE_ROOT_ID
  record[Field.nameLength] = name.length - 1
  record[Field.replySize] = value.length
  const length = operations.getxattr(record, name, value)
  const present = Math.max(0, length)
  record[Field.secondOffset] = name.length
  record[Field.secondLength] = present
  record[Field.flags] = length < 0 ? XATTR_REPLACE : XATTR_CREATE
  return operations.setxattr(record, Buffer.concat([name, value.subarray(0, present)]), value)
}

/** @returns one sentence that says what to do, or undefined where labels can be kept */
export function explainLabels(fileSystem: FileSystem): string | undefined {
  if (fileSystem.readOnly || !fileSystem.xattr) return undefined
  const name = hostLabel(LABEL, fileSystem.xattrMap)
  const result = name === undefined ? -EPERM : tryLabel(fileSystem, name)
  if (!REFUSALS.includes(-result)) return undefined
  const why =
    name === undefined
      ? `the rules of --xattrmap refuse ${LABEL}`
      : `this process can't write ${name} in the shared directory`
  return (
    `--security-label: ${why} (${getSystemErrorName(result)}); use --xattrmap=:map:${LABEL}:user.virtiofs.: ` +
    `or, for labels of symbolic links and devices, too, --xattrmap=:map:${LABEL}:trusted.virtiofs.: with --modcaps=+sys_admin`
  )
}
