// SPDX-License-Identifier: Apache-2.0
/**
 * Entry of a queue thread: builds the FUSE server once, then serves its queues until the device shuts down. A thread may
 * start when files can't be read any more, so the build makes one file of all its modules (dist/server/queue-worker.cjs),
 * which the daemon reads early.
 */
import { isMainThread, workerData } from 'node:worker_threads'
import type { AddonLocation } from '../native/index.ts'
import { createWindow, type WindowSpec } from './dax/window.ts'
import { FuseInHeader, opcodeName } from './fuse/abi.ts'
import { FuseCounters } from './fuse/counters.ts'
import { FuseServer } from './operations/server.ts'
import { FuseSession } from './fuse/session.ts'
import { createLogger, LogLevelCell, type LogOptions } from './log.ts'
import { logWaiting } from './stuck-requests.ts'
import { openSharedDirectory, type SharedDirectory } from './shared-directory.ts'
import { OWNER_REFUSED, QueueChannel, SHORTAGE, STOPPED } from './virtio/queue-channel.ts'

/** What the main thread gives a queue thread. */
export interface QueueWorkerData extends AddonLocation {
  readonly deviceId: number
  readonly workerIndex: number
  readonly directory: SharedDirectory
  readonly window: WindowSpec
  readonly session: SharedArrayBuffer
  readonly counters: SharedArrayBuffer
  readonly log: LogOptions
}

/** Serves until the device shuts down. */
function serve(data: QueueWorkerData): void {
  const log = createLogger(data.log).child({ worker: data.workerIndex })
  const logLevel = new LogLevelCell(data.log.level)
  const warn = (message: string): void => log.warn({ event: 'share-warning' }, message)
  const fileSystem = openSharedDirectory(data.directory, data.session, warn)
  fileSystem.attachThread()
  const server = new FuseServer(
    fileSystem,
    createWindow(data.window, (message) => log.error({ event: 'window-failed' }, message)),
    new FuseSession(data.session),
    new FuseCounters(data.counters),
    warn,
  )
  server.onShortage = (opcode) =>
    log.warn(
      { event: 'files-many', request: opcodeName(opcode), errno: 'ENFILE' },
      'this guest has more files open, or known, than the daemon can hold: see --rlimit-nofile and --inode-file-handles',
    )
  server.onForeign = (opcode) =>
    log.error(
      { event: 'state-missing', request: opcodeName(opcode), errno: 'EIO' },
      'a guest goes on that has mounted this share elsewhere, and what it has there has not been moved here: it has to mount again',
    )
  server.onStuck = (request, waitedMs, ended) => logWaiting(log, request, waitedMs, ended)
  const channel = new QueueChannel(data.deviceId, data.workerIndex, data.directory.id)
  for (;;) {
    const queue = channel.next(server.waitMs)
    if (queue === STOPPED) break
    logLevel.apply(log)
    try {
      if (queue >= 0) server.handle(channel)
      else if (queue === SHORTAGE) server.noteShortage(channel.request.getUint32(FuseInHeader.opcode, true))
      else if (queue === OWNER_REFUSED) server.noteOwnerRefused()
      server.retryWaits(channel)
    } catch (error) {
      // A bug of ours: this request ends in EIO (the channel sees to it), the others go on.
      log.error({ event: 'request-failed', err: error }, 'serving a request failed')
    }
  }
  channel.close()
}

if (!isMainThread) serve(workerData)
