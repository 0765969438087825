// SPDX-License-Identifier: Apache-2.0
/**
 * A window whose ranges the frontend maps, one message each. It can neither replace a mapping in one step nor map beyond
 * the end of a file, so what it can't do exactly fails: a guest must never see wrong bytes.
 */
import { deviceWindow } from '../../native/index.ts'
import type { WindowMapper } from './window-mapper.ts'
import type { WindowState } from './window-state.ts'

export class ShmemMapper implements WindowMapper {
  readonly upgrades = false
  readonly #deviceId: number
  readonly #sizeBytes: number
  readonly #state: WindowState
  readonly #writable: boolean

  /** @param writable false for a read-only export */
  constructor(deviceId: number, sizeBytes: number, state: WindowState, writable: boolean) {
    this.#deviceId = deviceId
    this.#sizeBytes = sizeBytes
    this.#state = state
    this.#writable = writable
  }

  get size(): number {
    return this.#state.active ? this.#sizeBytes : 0
  }

  /** The window exists as soon as the device does; each `map` waits for its own range. */
  start(): number {
    return 0
  }

  map(moffset: number, length: number, fd: number, foffset: number, writable: boolean): number {
    return deviceWindow.shmemMap(this.#deviceId, moffset, length, fd, foffset, writable, this.#writable)
  }

  unmap(ranges: Float64Array, count: number): number {
    let first = 0
    for (let i = 0; i < count; i++) {
      const result = deviceWindow.shmemUnmap(this.#deviceId, ranges[2 * i] ?? 0, ranges[2 * i + 1] ?? 0)
      if (result < 0 && first === 0) first = result
    }
    return first
  }

  reset(): void {
    deviceWindow.shmemReset(this.#deviceId)
  }
}
