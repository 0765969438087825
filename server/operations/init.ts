// SPDX-License-Identifier: Apache-2.0
/** INIT: what both sides agree on. */
import { Errno } from '../errno.ts'
import {
  FUSE_COMPAT_INIT_IN_SIZE,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MIN_KERNEL_MINOR_VERSION,
  FuseInitFlag,
  FuseInitFlag2,
  FuseInitIn,
  FuseInitOut,
} from '../fuse/abi.ts'
import { endSession } from './end-session.ts'
import { operation } from './operation.ts'
import { BODY, INTERRUPTED, type RequestContext } from './request-context.ts'

/** The most bytes of one WRITE and, in pages, of any request's data. Guests limit it further by their queue size. */
export const MAX_WRITE_BYTES = 1024 * 1024
const MAX_PAGES = MAX_WRITE_BYTES / 4096
/** Requests that the guest may have under way in the background (readahead, writeback, direct I/O). */
const MAX_BACKGROUND = 65535
const CONGESTION_THRESHOLD = 49151
/** The window is mapped in pages of 4 KiB. */
export const MAP_ALIGNMENT_LOG2 = 12

/** What every guest gets if it knows it; the file system adds its own wishes. */
const ALWAYS_WANTED =
  FuseInitFlag.ASYNC_READ |
  FuseInitFlag.ATOMIC_O_TRUNC |
  FuseInitFlag.BIG_WRITES |
  FuseInitFlag.ASYNC_DIO |
  FuseInitFlag.PARALLEL_DIROPS |
  FuseInitFlag.MAX_PAGES |
  FuseInitFlag.INIT_EXT

export interface InitRequest {
  major: number
  minor: number
  maxReadahead: number
  flags: number
  flags2: number
}

export interface Negotiated {
  minor: number
  flags: number
  flags2: number
}

/**
 * @param wanted the file system's initFlags and initFlags2
 * @param offerWindow the device has a DAX window, and the guest will use it
 */
export function negotiate(
  request: InitRequest,
  wanted: { flags: number; flags2: number },
  offerWindow: boolean,
): Negotiated {
  const window = offerWindow ? FuseInitFlag.MAP_ALIGNMENT : 0
  let flags = request.flags & (ALWAYS_WANTED | wanted.flags | window)
  // What a guest writes through a window it tells nobody. With HANDLE_KILLPRIV_V2 it would clear no set-id bits itself, and with
  // WRITEBACK_CACHE it would trust its own modification times, which it does not move at such writes.
  if (offerWindow) flags &= ~(FuseInitFlag.HANDLE_KILLPRIV_V2 | FuseInitFlag.WRITEBACK_CACHE)
  // Without it, only a truncation that the guest asks for as such clears them.
  if ((flags & FuseInitFlag.HANDLE_KILLPRIV_V2) === 0) flags &= ~FuseInitFlag.ATOMIC_O_TRUNC
  const extended = (flags & FuseInitFlag.INIT_EXT) !== 0
  return {
    minor: Math.min(request.minor, FUSE_KERNEL_MINOR_VERSION),
    flags,
    flags2: extended ? request.flags2 & wanted.flags2 : 0,
  }
}

/**
 * What the file system wishes of this guest.
 * @returns undefined where the guest lacks a feature that it must have
 */
function wishes(context: RequestContext, request: InitRequest): { flags: number; flags2: number } | undefined {
  const { fileSystem } = context
  let flags = fileSystem.initFlags
  let flags2 = fileSystem.initFlags2
  const offered2 = (request.flags & FuseInitFlag.INIT_EXT) !== 0 ? request.flags2 : 0
  for (const feature of fileSystem.initFeatures) {
    if ((feature.flags & ~request.flags) === 0 && (feature.flags2 & ~offered2) === 0) {
      flags |= feature.flags
      flags2 |= feature.flags2
    } else if (feature.required) {
      context.warn(`refused a guest that does not support what ${feature.option} asks for`)
      return undefined
    }
  }
  return { flags, flags2 }
}

/**
 * Answers only when the window is where the guest will look for it.
 * @returns EPROTO for a guest that is too old, of another major version or without a required feature, ENOTCONN where a
 *   DESTROY or another INIT came meanwhile, or what `window.start` answered
 */
function serve(context: RequestContext): number {
  const { view, end, window, fileSystem, session, reply } = context
  const request: InitRequest = {
    major: view.getUint32(BODY + FuseInitIn.major, true),
    minor: view.getUint32(BODY + FuseInitIn.minor, true),
    maxReadahead: view.getUint32(BODY + FuseInitIn.max_readahead, true),
    flags: view.getInt32(BODY + FuseInitIn.flags, true),
    flags2: end - BODY >= FUSE_COMPAT_INIT_IN_SIZE + 4 ? view.getInt32(BODY + FuseInitIn.flags2, true) : 0,
  }
  const out = reply.offset
  if (request.major > FUSE_KERNEL_VERSION) {
    // The guest shall come again with our version.
    reply.bytes.fill(0, out, out + FuseInitOut.SIZE)
    reply.view.setUint32(out + FuseInitOut.major, FUSE_KERNEL_VERSION, true)
    reply.view.setUint32(out + FuseInitOut.minor, FUSE_KERNEL_MINOR_VERSION, true)
    return FuseInitOut.SIZE
  }
  if (request.major < FUSE_KERNEL_VERSION || request.minor < FUSE_MIN_KERNEL_MINOR_VERSION) return -Errno.EPROTO

  const withWindow = wishes(context, request)
  if (withWindow === undefined) return -Errno.EPROTO

  const ended = endSession(context)
  // A guest mounted with dax=inode maps only files that have FUSE_ATTR_DAX. Where the file system marks none it needs no
  // window, and it must not fail for want of one. A guest that asks for the window without that maps all files.
  const perInode = (request.flags2 & FuseInitFlag2.HAS_INODE_DAX) !== 0
  const marksFiles = (fileSystem.initFlags2 & FuseInitFlag2.HAS_INODE_DAX) !== 0
  const without = { flags: withWindow.flags, flags2: withWindow.flags2 & ~FuseInitFlag2.HAS_INODE_DAX }
  let offersWindow = window.size > 0 && (!perInode || marksFiles)
  let agreed = negotiate(request, offersWindow ? withWindow : without, offersWindow)
  offersWindow = (agreed.flags & FuseInitFlag.MAP_ALIGNMENT) !== 0
  if (offersWindow) {
    const started = window.start()
    if (started === -Errno.EINTR) return INTERRUPTED
    if (started < 0) {
      if (!perInode) return started
      offersWindow = false
    }
  }
  if (!offersWindow) agreed = negotiate(request, without, false)
  const { minor, flags, flags2 } = agreed
  if (!session.start(ended, minor, flags, flags2, offersWindow, offersWindow && !perInode)) return -Errno.ENOTCONN
  fileSystem.begin(flags, window.size)

  reply.bytes.fill(0, out, out + FuseInitOut.SIZE)
  reply.view.setUint32(out + FuseInitOut.major, FUSE_KERNEL_VERSION, true)
  reply.view.setUint32(out + FuseInitOut.minor, agreed.minor, true)
  reply.view.setUint32(out + FuseInitOut.max_readahead, request.maxReadahead, true)
  reply.view.setUint32(out + FuseInitOut.flags, agreed.flags, true)
  reply.view.setUint16(out + FuseInitOut.max_background, MAX_BACKGROUND, true)
  reply.view.setUint16(out + FuseInitOut.congestion_threshold, CONGESTION_THRESHOLD, true)
  reply.view.setUint32(out + FuseInitOut.max_write, MAX_WRITE_BYTES, true)
  reply.view.setUint32(out + FuseInitOut.time_gran, 1, true)
  reply.view.setUint16(out + FuseInitOut.max_pages, MAX_PAGES, true)
  reply.view.setUint16(out + FuseInitOut.map_alignment, offersWindow ? MAP_ALIGNMENT_LOG2 : 0, true)
  reply.view.setUint32(out + FuseInitOut.flags2, agreed.flags2, true)
  return FuseInitOut.SIZE
}

export const init = operation(serve, FUSE_COMPAT_INIT_IN_SIZE, FuseInitOut.SIZE, { early: true })
