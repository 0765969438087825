// SPDX-License-Identifier: Apache-2.0
/**
 * SETUPMAPPING and REMOVEMAPPING: ranges of files in the DAX window.
 *
 * Linux maps 2 MiB ranges, by nodeid (fh is -1), beyond the end of the file too, and makes a readable range writable
 * by a second SETUPMAPPING over it. Nothing of that is assumed but the window's 4 KiB granularity.
 */
import { Errno } from '../errno.ts'
import {
  FUSE_REMOVEMAPPING_MAX_ENTRY,
  FUSE_SETUPMAPPING_FLAG_READ,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  FuseRemovemappingIn,
  FuseRemovemappingOne,
  FuseSetupmappingIn,
} from './abi.ts'
import { MAP_ALIGNMENT_LOG2 } from './init.ts'
import { BODY, COMPLETED, INTERRUPTED, type RequestContext } from './request-context.ts'
import { getU64, isSafeOffset } from './wire.ts'

const ALIGNMENT = 2 ** MAP_ALIGNMENT_LOG2
const KNOWN_FLAGS = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE

/** A range of the window: aligned, not empty, inside. The sums are exact: a window is far below 2^53 bytes. */
function isWindowRange(moffset: number, length: number, windowSize: number): boolean {
  return (
    length > 0 &&
    length <= windowSize &&
    moffset <= windowSize - length &&
    moffset % ALIGNMENT === 0 &&
    length % ALIGNMENT === 0
  )
}

/** @returns a descriptor, which the file system closes, or `-errno`: `-EAGAIN` where a lease is in the way */
function openFile(context: RequestContext, writable: boolean, foffset: number, length: number): number {
  const { fileSystem, mapper, nodeid } = context
  if (!writable && !mapper.upgrades && !fileSystem.readOnly) {
    const fd = fileSystem.openMappingFile(nodeid, true, foffset, length)
    if (fd >= 0 || fd === -Errno.EAGAIN) return fd
  }
  return fileSystem.openMappingFile(nodeid, writable, foffset, length)
}

function setUpMapping(context: RequestContext, writable: boolean): number {
  const { view, mapper, fileSystem } = context
  const foffset = getU64(view, BODY + FuseSetupmappingIn.foffset)
  const length = getU64(view, BODY + FuseSetupmappingIn.len)
  const moffset = getU64(view, BODY + FuseSetupmappingIn.moffset)
  if (!isWindowRange(moffset, length, mapper.size)) return -Errno.EINVAL
  if (foffset % ALIGNMENT !== 0 || !isSafeOffset(foffset + length)) return -Errno.EINVAL
  if (writable && fileSystem.readOnly) return -Errno.EROFS
  const fd = openFile(context, writable, foffset, length)
  if (fd < 0) return context.waitForLease(fd)
  const result = mapper.map(moffset, length, fd, foffset, writable, context.nodeid)
  fileSystem.closeMappingFile(fd)
  // The frontend was asked and has not answered yet; asking again for what it has mapped by then does no harm.
  if (result === -Errno.EINTR) return INTERRUPTED
  return result < 0 ? result : 0
}

export function handleSetupmapping(context: RequestContext): number {
  if (context.mapper.size === 0) return -Errno.ENOSYS
  const flags = getU64(context.view, BODY + FuseSetupmappingIn.flags)
  const writable = (flags & FUSE_SETUPMAPPING_FLAG_WRITE) !== 0
  const known = flags > 0 && flags <= KNOWN_FLAGS
  // Without the window in the guest's address space a mapping would read as zeros.
  let result: number = -Errno.ENODEV
  if (context.session.hasWindow) result = known ? setUpMapping(context, writable) : -Errno.EINVAL
  if (result === INTERRUPTED || result === COMPLETED) return result
  if (result < 0) context.counters.countRefusedMapping()
  else context.counters.countMapping(writable)
  return result
}

/** Entries of the REMOVEMAPPING in progress: moffset, length, moffset, length ... */
const ranges = new Float64Array(2 * FUSE_REMOVEMAPPING_MAX_ENTRY)

/** All entries are checked before the first one is unmapped. */
export function handleRemovemapping(context: RequestContext): number {
  const { view, mapper } = context
  if (mapper.size === 0) return -Errno.ENOSYS
  const count = view.getUint32(BODY + FuseRemovemappingIn.count, true)
  const first = BODY + FuseRemovemappingIn.SIZE
  if (count === 0 || count > FUSE_REMOVEMAPPING_MAX_ENTRY) return -Errno.EINVAL
  if (context.end - first < count * FuseRemovemappingOne.SIZE) return -Errno.EINVAL
  for (let index = 0; index < count; index++) {
    const entry = first + index * FuseRemovemappingOne.SIZE
    const moffset = getU64(view, entry + FuseRemovemappingOne.moffset)
    const length = getU64(view, entry + FuseRemovemappingOne.len)
    if (!isWindowRange(moffset, length, mapper.size)) return -Errno.EINVAL
    ranges[2 * index] = moffset
    ranges[2 * index + 1] = length
  }
  const result = mapper.unmap(ranges, count)
  if (result === -Errno.EINTR) return INTERRUPTED
  if (result < 0) return result
  context.counters.countRemovedMappings(count)
  return 0
}
