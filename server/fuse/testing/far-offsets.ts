// SPDX-License-Identifier: Apache-2.0
/**
 * Directory offsets of 2^63 and above, as some network file systems have them: negative for lseek(2), which refuses them. All
 * that the client is told have the highest bit, except that of the start; what it asks for is asked without.
 */
import { FuseDirent, FuseEntryOut, FuseInHeader, FuseOpcode, FuseReadIn } from '../abi.ts'
import type { FakeReply } from './fake-channel.ts'

const HIGHEST_BIT = 0x8000_0000

function lists(opcode: number): boolean {
  return opcode === FuseOpcode.READDIR || opcode === FuseOpcode.READDIRPLUS
}

/** Before a request is served. */
export function askNearOffset(message: Buffer): void {
  if (!lists(message.readUInt32LE(FuseInHeader.opcode))) return
  const high = FuseInHeader.SIZE + FuseReadIn.offset + 4
  message.writeUInt32LE((message.readUInt32LE(high) & ~HIGHEST_BIT) >>> 0, high)
}

/** Before its reply is sent. */
export function tellFarOffsets(opcode: number, { body }: FakeReply): void {
  if (!lists(opcode)) return
  const entry = opcode === FuseOpcode.READDIRPLUS ? FuseEntryOut.SIZE : 0
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  for (let dirent = entry; dirent < body.length; ) {
    const high = dirent + FuseDirent.off + 4
    view.setUint32(high, (view.getUint32(high, true) | HIGHEST_BIT) >>> 0, true)
    const nameLength = view.getUint32(dirent + FuseDirent.namelen, true)
    dirent += ((FuseDirent.name + nameLength + 7) & ~7) + entry
  }
}
