// SPDX-License-Identifier: Apache-2.0
/** A daemon's answers, for unit tests. */
import type { Metrics } from '../metrics.ts'
import type { FilesReport } from './files.ts'
import type { Latencies } from './latencies.ts'
import type { Status } from './status.ts'

export const METRICS: Metrics = {
  fuse: {
    requests: { LOOKUP: 7, READ: 40 },
    requestsTotal: 47,
    errors: 2,
    bytesRead: 8192,
    bytesWritten: 0,
    mappingsSetUp: 5,
    mappingsSetUpWritable: 1,
    mappingsRefused: 1,
    mappingsRemoved: 2,
  },
  queues: { requests: 48, refused: 1, signals: 30, waits: 20, spinHits: 3, pooled: 2, asyncReads: 1 },
  memory: { regions: 2, guardedFaults: 0 },
  window: {
    kind: 'memory-view',
    active: true,
    sizeBytes: 1 << 30,
    live: 3,
    wantedAgain: 4,
    maps: 5,
    unmaps: 2,
    faults: 60,
    sinkPages: 0,
  },
  frontendMessages: { shmemMap: 2, shmemUnmap: 0 },
}

export const STATUS: Status = {
  version: '0.1.0',
  uptimeSeconds: 3700,
  sharedDir: '/srv/data',
  socketPath: '/run/viewfsd.sock',
  tag: 'data',
  frontend: { connected: true, connectedSeconds: 60 },
  session: { fuseMinor: 46, flags: '0x1', flags2: '0x0', window: true, daxForEveryFile: false },
  window: METRICS.window,
  daxPolicy: { enabled: true, minSizeBytes: 65536, minAgeSeconds: 10 },
  queueThreads: 1,
  activeRequests: 0,
  servers: { restarts: 3, last: { cause: 'SIGSEGV', secondsAgo: 125 }, crashes: 2, refusing: false },
  logLevel: 'info',
}

export const LATENCIES: readonly Latencies[] = [{ opcode: 'READ', buckets: buckets(), nanoseconds: 1_100_000_000 }]

/** 30 requests of a microsecond, 9 of two, one of a second. */
function buckets(): number[] {
  const steps = Array.from({ length: 112 }, () => 0)
  steps[8] = 30
  steps[12] = 9
  steps[88] = 1
  return steps
}

export const FILES: FilesReport = {
  files: [
    {
      nodeid: 5,
      device: 2049,
      inode: 77,
      path: '/a/file',
      requests: 40,
      rangeCount: 1,
      ranges: [{ windowOffset: 2 << 20, fileOffset: 0, bytes: 2 << 20, writable: false, use: undefined }],
    },
    { nodeid: 1, device: 2049, inode: 2, path: '/', requests: 3, rangeCount: 0, ranges: [] },
  ],
  window: [0.5, ...Array.from({ length: 62 }, () => 0), 1],
}
