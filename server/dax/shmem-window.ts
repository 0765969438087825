// SPDX-License-Identifier: Apache-2.0
/** A window whose ranges the frontend maps, one message each (native/virtio/shmem_window.h). */
import { deviceWindow } from '../../native/index.ts'
import type { SessionWindow } from './session-window.ts'
import type { WindowState } from './window-state.ts'

export class ShmemWindow implements SessionWindow {
  readonly #deviceId: number
  readonly #sizeBytes: number
  readonly #state: WindowState

  constructor(deviceId: number, sizeBytes: number, state: WindowState) {
    this.#deviceId = deviceId
    this.#sizeBytes = sizeBytes
    this.#state = state
  }

  get size(): number {
    return this.#state.active ? this.#sizeBytes : 0
  }

  /** The window exists as soon as the device does; each mapping waits for its own range. */
  start(): number {
    return 0
  }

  reset(): void {
    deviceWindow.shmemReset(this.#deviceId)
  }
}
