// SPDX-License-Identifier: Apache-2.0
/** Which window a daemon offers, decided at start-up from `--window` and from what this host has. */
import {
  deviceWindow,
  MemoryView,
  MemoryViewFaultPolicy,
  memoryViewAbiVersion,
  type SharedDirectoryId,
} from '../../native/index.ts'
import { MemoryViewWindow } from './memory-view-window.ts'
import { NoWindow } from './no-window.ts'
import { ShmemWindow } from './shmem-window.ts'
import type { SessionWindow } from './session-window.ts'
import { WindowState } from './window-state.ts'

export const WINDOW_CHOICES = ['auto', 'memory-view', 'shmem', 'none'] as const
export type WindowChoice = (typeof WINDOW_CHOICES)[number]

/** What a guest gets where a memory view has nothing to show: see MEMVIEW_FAULT_SINK. A SIGBUS stops its VM. */
export const FAULT_POLICIES = ['sink', 'sigbus'] as const
export type FaultPolicy = (typeof FAULT_POLICIES)[number]

/** A decided window; `view` and `viewFd` are there for a memory view and owned by whoever holds the plan. */
export interface WindowPlan {
  readonly kind: 'memory-view' | 'shmem' | 'none'
  readonly sizeBytes: number
  /** One clause: why this kind. */
  readonly reason: string
  readonly view?: MemoryView
  readonly viewFd?: number
}

/** The window that was asked for can't be had: which part is missing, and what to do. */
export class WindowUnavailableError extends Error {
  override readonly name = 'WindowUnavailableError'
}

const DEVICE = '/dev/memory-view'

/**
 * @param device its path, or a descriptor of it that outlives this process
 * @throws WindowUnavailableError where `choice` names a memory view that this host can't make
 */
export function planWindow(
  choice: WindowChoice,
  sizeBytes: number,
  faultPolicy: FaultPolicy,
  device: string | number = DEVICE,
): WindowPlan {
  if (choice === 'none') return { kind: 'none', sizeBytes: 0, reason: '--window=none' }
  if (choice === 'shmem') return { kind: 'shmem', sizeBytes, reason: '--window=shmem' }
  try {
    const policy = faultPolicy === 'sink' ? MemoryViewFaultPolicy.SINK : MemoryViewFaultPolicy.SIGBUS
    const view =
      typeof device === 'number'
        ? MemoryView.adopt(device, sizeBytes, policy)
        : MemoryView.create(sizeBytes, device, policy)
    return {
      kind: 'memory-view',
      sizeBytes,
      reason: `${typeof device === 'number' ? DEVICE : device} works`,
      view,
      viewFd: view.viewFd(),
    }
  } catch (error) {
    const reason = explain(error, typeof device === 'number' ? DEVICE : device)
    if (choice === 'memory-view') throw new WindowUnavailableError(`--window=memory-view: ${reason}`, { cause: error })
    return { kind: 'none', sizeBytes: 0, reason }
  }
}

/** What is missing on this host, as a clause for a message. */
function explain(error: unknown, device: string): string {
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
      return `${device} is missing: load the memory_view module (modprobe memory_view)`
    case 'EACCES':
    case 'EPERM':
      return `no permission to open ${device}: run as root or give this user read and write access to it`
    case 'ENOTTY':
      return `${device} is no memory view: load the memory_view module, which makes it, in place of what has that name`
    case 'EPROTO':
      return `the memory_view driver is older than this program, which needs ABI ${memoryViewAbiVersion}: install the module that came with viewfsd`
    default:
      return `${device}: ${message}`
  }
}

/** A plan as workers need it: plain data for workerData. */
export interface WindowSpec {
  readonly kind: WindowPlan['kind']
  readonly deviceId: number
  /** Whose files it shows. */
  readonly directory: SharedDirectoryId
  readonly sizeBytes: number
  readonly state: SharedArrayBuffer
  /** -1 unless a memory view. Owned by the main thread's plan. */
  readonly controlFd: number
  readonly viewFd: number
}

export function windowSpec(
  plan: WindowPlan,
  deviceId: number,
  directory: SharedDirectoryId,
  state: SharedArrayBuffer,
): WindowSpec {
  return {
    kind: plan.kind,
    deviceId,
    directory,
    sizeBytes: plan.sizeBytes,
    state,
    controlFd: plan.view?.fd ?? -1,
    viewFd: plan.viewFd ?? -1,
  }
}

/** Lets the data plane show the directory's files in the window. Once, before the first request. */
export function attachWindow({ kind, deviceId, directory, controlFd }: WindowSpec): void {
  if (kind === 'memory-view') deviceWindow.attachView(directory, controlFd)
  if (kind === 'shmem') deviceWindow.attachShmem(deviceId, directory)
}

/** The window for the calling thread; `report` is told why a window could not be made visible. */
export function createWindow(spec: WindowSpec, report: (message: string) => void): SessionWindow {
  const state = new WindowState(spec.state)
  if (spec.kind === 'memory-view')
    return new MemoryViewWindow(spec.deviceId, spec.controlFd, spec.viewFd, spec.sizeBytes, state, report)
  return spec.kind === 'shmem' ? new ShmemWindow(spec.deviceId, spec.sizeBytes, state) : new NoWindow()
}
