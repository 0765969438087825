// SPDX-License-Identifier: Apache-2.0
/** The counters that SIGUSR1 prints, gathered from where they are counted. */
import { MemoryViewFaultPolicy } from '../native/index.ts'
import type { FaultPolicy, WindowPlan } from './dax/window.ts'
import { FuseCounters, type FuseCounts } from './fuse/counters.ts'
import type { VirtioDevice } from './virtio/device.ts'

export interface Metrics {
  readonly fuse: FuseCounts
  readonly queues: {
    readonly requests: number
    readonly refused: number
    readonly signals: number
    readonly waits: number
    readonly spinHits: number
    readonly pooled: number
    readonly asyncReads: number
  }
  readonly memory: { readonly regions: number; readonly guardedFaults: number }
  readonly window: {
    readonly kind: WindowPlan['kind']
    /** Whether the connected frontend can show it. */
    readonly active: boolean
    readonly sizeBytes: number
    /** Mappings that are live now; of a memory view, the driver's segments. */
    readonly live: number
    /** Ranges that the guest wanted back within a minute of having given them up, in a window that was nearly full. */
    readonly wantedAgain: number
    /** The driver's own counts; only of a memory view. */
    readonly maps?: number
    readonly unmaps?: number
    readonly faults?: number
    readonly zaps?: number
    readonly retries?: number
    readonly faultPolicy?: FaultPolicy
    readonly sinkPages?: number
    readonly sinks?: number
    readonly readErrors?: number
    readonly lostWrites?: number
  }
  /** Messages sent to the frontend for the window since the daemon started. */
  readonly frontendMessages: { readonly shmemMap: number; readonly shmemUnmap: number }
}

export function collectMetrics(
  device: VirtioDevice,
  fuseCounters: readonly SharedArrayBuffer[],
  plan: WindowPlan,
  windowActive: boolean,
  wantedAgain: number,
): Metrics {
  const { requests, refused, signals, waits, spinHits, pooled, asyncReads, ...rest } = device.control.counters()
  const view = plan.view?.info()
  return {
    fuse: FuseCounters.sum(fuseCounters, rest.dataPlane),
    queues: { requests, refused, signals, waits, spinHits, pooled, asyncReads },
    memory: { regions: rest.memoryRegions, guardedFaults: rest.guardedFaults },
    window: {
      kind: plan.kind,
      active: windowActive,
      sizeBytes: plan.sizeBytes,
      wantedAgain,
      ...(view === undefined
        ? { live: rest.shmemLive }
        : {
            live: view.segments,
            maps: view.maps,
            unmaps: view.unmaps,
            faults: view.faults,
            zaps: view.zaps,
            retries: view.retries,
            faultPolicy: view.faultPolicy === MemoryViewFaultPolicy.SINK ? 'sink' : 'sigbus',
            sinkPages: view.sinkPages,
            sinks: view.sinks,
            readErrors: view.readErrors,
            lostWrites: view.lostWrites,
          }),
    },
    frontendMessages: { shmemMap: rest.shmemMaps, shmemUnmap: rest.shmemUnmaps },
  }
}
