// SPDX-License-Identifier: Apache-2.0
/**
 * What the data plane does with the guest's open flags, and what it tells the guest of what is opened, as follows from the
 * options and from what a session has agreed on: ARCHITECTURE.md, "What the guest keeps".
 */
import { constants } from 'node:fs'
import type { AgreedFeatures, OpenPolicy } from '../../native/index.ts'
import { FuseInitFlag, FuseInitFlag2, FuseOpenFlag } from '../fuse/abi.ts'
import type { FuseSession } from '../fuse/session.ts'
import type { PassthroughOptions } from './options.ts'

// A guest's open flags are those of its architecture, which is the host's; O_DIRECT is not the same on all.
const { O_APPEND, O_DIRECT, O_NOATIME } = constants

/** Requests have extensions since 7.38. */
const EXTENSIONS_MINOR = 38
/** FOPEN_NOFLUSH is of 7.36. */
const NOFLUSH_MINOR = 36

export function agreedFeatures(session: FuseSession): AgreedFeatures {
  return {
    writebackCache: session.has(FuseInitFlag.WRITEBACK_CACHE),
    posixLocks: session.has(FuseInitFlag.POSIX_LOCKS),
    windowShown: session.hasWindow,
    handlesKillpriv: session.has(FuseInitFlag.HANDLE_KILLPRIV_V2),
    extensions: session.minor >= EXTENSIONS_MINOR,
    labels: session.has2(FuseInitFlag2.SECURITY_CTX),
    appliesUmask: session.has(FuseInitFlag.DONT_MASK),
    // A guest without it is not Linux: Windows' would take such an entry for a file.
    negativeEntries: session.has(FuseInitFlag.AUTO_INVAL_DATA),
  }
}

export function openPolicy(options: Readonly<PassthroughOptions>, session: FuseSession): OpenPolicy {
  const { cache, readOnly, allowDirectIo, preserveNoatime } = options
  const writebackCache = session.has(FuseInitFlag.WRITEBACK_CACHE)
  const noData = cache === 'never' || cache === 'metadata'
  // Of what is in the window nothing could be stale, and a guest that invalidates it would unmap what others have mapped.
  const everyFile = session.daxForEveryFile
  const direct = everyFile ? FuseOpenFlag.KEEP_CACHE : FuseOpenFlag.DIRECT_IO
  const kept = noData ? direct : FuseOpenFlag.KEEP_CACHE
  const changed = noData ? direct : cache === 'always' || everyFile ? FuseOpenFlag.KEEP_CACHE : 0
  const directories = cache === 'never' ? 0 : FuseOpenFlag.CACHE_DIR
  const keptDirectories = cache === 'never' ? 0 : FuseOpenFlag.KEEP_CACHE
  // With it, nobody would say that a process has closed a file that it had locked.
  const noFlush = session.minor >= NOFLUSH_MINOR && !session.has(FuseInitFlag.POSIX_LOCKS)
  return {
    readOnly,
    // The guest of a write-back cache finds the end of the file by itself.
    passedFlags: ~(
      (allowDirectIo ? 0 : O_DIRECT) |
      (preserveNoatime ? 0 : O_NOATIME) |
      (writebackCache ? O_APPEND : 0)
    ),
    // Such a cache reads a partial page before it is written; a mapping that is written can also be read.
    readsAlways: writebackCache || session.hasWindow,
    mayWriteOnly: session.hasWindow,
    // A guest without AUTO_INVAL_DATA, which is not Linux, would show its program the error. One with a write-back cache
    // goes by its own sizes.
    asksAgain: cache === 'auto' && session.has(FuseInitFlag.AUTO_INVAL_DATA) && !writebackCache,
    changedFile: changed,
    unchangedFile: kept,
    unsizedFile: direct,
    unflushed: noFlush ? FuseOpenFlag.NOFLUSH : 0,
    changedDirectory: directories | (cache === 'auto' ? 0 : keptDirectories),
    unchangedDirectory: directories | keptDirectories,
  }
}
