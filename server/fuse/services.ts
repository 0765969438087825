// SPDX-License-Identifier: Apache-2.0
/**
 * Which requests the data plane (native/fuse/) serves during a session. It alone knows how: the FUSE server
 * answers what comes outside of a session and what a read-only file system refuses, and keeps what has to wait.
 */
import { FuseOpcode } from './abi.ts'

/** Opcodes that a policy has an entry for. */
const OPCODES = 64
const NATIVE = 1
const POOL = 2

/** Of the data plane; true: it changes files. */
export const DATA_PLANE: ReadonlyMap<number, boolean> = new Map<number, boolean>([
  [FuseOpcode.LOOKUP, false],
  [FuseOpcode.FORGET, false],
  [FuseOpcode.BATCH_FORGET, false],
  [FuseOpcode.GETATTR, false],
  // Of a read-only file system, those that could change something are refused by OpenPolicy.readOnly.
  [FuseOpcode.SETUPMAPPING, false],
  [FuseOpcode.REMOVEMAPPING, false],
  [FuseOpcode.OPEN, false],
  [FuseOpcode.OPENDIR, false],
  [FuseOpcode.READ, false],
  [FuseOpcode.WRITE, true],
  [FuseOpcode.FLUSH, false],
  [FuseOpcode.FSYNC, false],
  [FuseOpcode.FSYNCDIR, false],
  [FuseOpcode.SYNCFS, false],
  [FuseOpcode.FALLOCATE, true],
  [FuseOpcode.COPY_FILE_RANGE, true],
  [FuseOpcode.COPY_FILE_RANGE_64, true],
  [FuseOpcode.RELEASE, false],
  [FuseOpcode.READDIR, false],
  [FuseOpcode.READDIRPLUS, false],
  [FuseOpcode.RELEASEDIR, false],
  [FuseOpcode.CREATE, true],
  [FuseOpcode.TMPFILE, true],
  [FuseOpcode.MKDIR, true],
  [FuseOpcode.MKNOD, true],
  [FuseOpcode.SYMLINK, true],
  [FuseOpcode.UNLINK, true],
  [FuseOpcode.RMDIR, true],
  [FuseOpcode.RENAME, true],
  [FuseOpcode.RENAME2, true],
  [FuseOpcode.SETATTR, true],
])

/** Of the data plane, and always put off to its pool: to wait for the disk is what they are for. */
const POOLED: ReadonlySet<number> = new Set([
  FuseOpcode.FSYNC,
  FuseOpcode.FSYNCDIR,
  FuseOpcode.SYNCFS,
  FuseOpcode.FALLOCATE,
  FuseOpcode.COPY_FILE_RANGE,
  FuseOpcode.COPY_FILE_RANGE_64,
])

/** A session's services, by opcode, as the data plane takes them. */
export function services(readOnly: boolean): Uint8Array {
  const table = new Uint8Array(OPCODES)
  for (const [opcode, modifies] of DATA_PLANE) {
    if (!(readOnly && modifies)) table[opcode] = POOLED.has(opcode) ? POOL : NATIVE
  }
  return table
}
