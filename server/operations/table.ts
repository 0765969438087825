// SPDX-License-Identifier: Apache-2.0
/** Who serves what, by opcode. What is not here gets ENOSYS. */
import { Errno } from '../errno.ts'
import { FuseOpcode } from '../fuse/abi.ts'
import { DATA_PLANE } from '../fuse/services.ts'
import { destroy } from './destroy.ts'
import { getlk } from './getlk.ts'
import { getxattr } from './getxattr.ts'
import { init } from './init.ts'
import { interrupt } from './interrupt.ts'
import { ioctl } from './ioctl.ts'
import { link } from './link.ts'
import { listxattr } from './listxattr.ts'
import { lseek } from './lseek.ts'
import { readlink } from './readlink.ts'
import { removexattr } from './removexattr.ts'
import { setlk } from './setlk.ts'
import { setlkw } from './setlkw.ts'
import { setxattr } from './setxattr.ts'
import { statfs } from './statfs.ts'
import { statx } from './statx.ts'
import { type Operation, operation } from './operation.ts'
import { COMPLETED } from './request-context.ts'

const SILENT_OPCODES: ReadonlySet<number> = new Set([FuseOpcode.FORGET, FuseOpcode.BATCH_FORGET])

/** ENOSYS makes the guest decide by itself: permissions come from the attributes. */
const unsupported = operation(() => -Errno.ENOSYS, 0)

const notifyReply = operation(
  ({ channel }) => {
    channel.noReply()
    return COMPLETED
  },
  0,
  0,
  { silent: true, early: true },
)

/** The data plane's own come here only to be set aside, or outside of a session. */
const dataPlane = Array.from(DATA_PLANE, ([opcode, modifies]): [number, Operation] => [
  opcode,
  operation((request) => request.serveByDataPlane(), 0, 0, { modifies, silent: SILENT_OPCODES.has(opcode) }),
])

const BY_OPCODE: ReadonlyMap<number, Operation> = new Map([
  ...dataPlane,
  [FuseOpcode.STATX, statx],
  [FuseOpcode.READLINK, readlink],
  [FuseOpcode.LINK, link],
  [FuseOpcode.STATFS, statfs],
  [FuseOpcode.SETXATTR, setxattr],
  [FuseOpcode.GETXATTR, getxattr],
  [FuseOpcode.LISTXATTR, listxattr],
  [FuseOpcode.REMOVEXATTR, removexattr],
  [FuseOpcode.LSEEK, lseek],
  [FuseOpcode.IOCTL, ioctl],
  [FuseOpcode.GETLK, getlk],
  [FuseOpcode.SETLK, setlk],
  [FuseOpcode.SETLKW, setlkw],
  [FuseOpcode.INIT, init],
  [FuseOpcode.DESTROY, destroy],
  [FuseOpcode.INTERRUPT, interrupt],
  [FuseOpcode.NOTIFY_REPLY, notifyReply],
  [FuseOpcode.ACCESS, unsupported],
  [FuseOpcode.BMAP, unsupported],
  [FuseOpcode.POLL, unsupported],
])

export const OPERATIONS: readonly (Operation | undefined)[] = Array.from(
  { length: Math.max(...BY_OPCODE.keys()) + 1 },
  (_, opcode) => BY_OPCODE.get(opcode),
)
