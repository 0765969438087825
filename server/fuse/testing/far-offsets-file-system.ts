// SPDX-License-Identifier: Apache-2.0
/** Directory offsets of 2^63 and above, as some network file systems have them: negative for lseek(2), which refuses them. */
import { PassthroughFileSystem } from '../../passthrough/passthrough-file-system.ts'
import { FuseDirent, FuseEntryOut } from '../abi.ts'
import type { ReplyBody } from '../wire.ts'

const HIGHEST_BIT = 0x8000_0000

/** A passthrough file system whose offsets all have the highest bit, except that of the start. */
export class FarOffsetsFileSystem extends PassthroughFileSystem {
  override readdir(
    nodeid: number,
    fh: number,
    offsetLow: number,
    offsetHigh: number,
    size: number,
    plus: boolean,
    reply: ReplyBody,
  ): number {
    const high = (offsetHigh & ~HIGHEST_BIT) >>> 0
    const length = super.readdir(nodeid, fh, offsetLow, high, size, plus, reply)
    const end = reply.offset + length
    for (let dirent = reply.offset + (plus ? FuseEntryOut.SIZE : 0); dirent < end; ) {
      const at = dirent + FuseDirent.off + 4
      reply.view.setUint32(at, (reply.view.getUint32(at, true) | HIGHEST_BIT) >>> 0, true)
      const nameLength = reply.view.getUint32(dirent + FuseDirent.namelen, true)
      dirent += ((FuseDirent.name + nameLength + 7) & ~7) + (plus ? FuseEntryOut.SIZE : 0)
    }
    return length
  }
}
