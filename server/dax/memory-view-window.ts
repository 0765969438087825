// SPDX-License-Identifier: Apache-2.0
/**
 * A window that is a memory view: the frontend maps the whole of it once, and each range is put in place by a call of
 * the driver alone.
 */
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { deviceWindow, MemoryView } from '../../native/index.ts'
import type { SessionWindow } from './session-window.ts'
import type { WindowState } from './window-state.ts'

/** Nested guests under emulation take seconds to commit a memory change; nothing that works takes longer than this. */
const TABLE_TIMEOUT_MS = 60_000

export class MemoryViewWindow implements SessionWindow {
  readonly #deviceId: number
  readonly #view: MemoryView
  readonly #viewFd: number
  readonly #sizeBytes: number
  readonly #state: WindowState
  readonly #report: (message: string) => void

  /**
   * @param controlFd the view's control fd, @param viewFd one of its view fds; both stay the caller's
   * @param report is told why the window could not be made visible
   */
  constructor(
    deviceId: number,
    controlFd: number,
    viewFd: number,
    sizeBytes: number,
    state: WindowState,
    report: (message: string) => void,
  ) {
    this.#deviceId = deviceId
    this.#view = MemoryView.borrow(controlFd)
    this.#viewFd = viewFd
    this.#sizeBytes = sizeBytes
    this.#state = state
    this.#report = report
  }

  get size(): number {
    return this.#state.active ? this.#sizeBytes : 0
  }

  start(): number {
    const result = deviceWindow.startViewWindow(this.#deviceId, this.#viewFd, this.#sizeBytes, TABLE_TIMEOUT_MS)
    if (result < 0) this.#report(explainStart(result))
    return result
  }

  reset(): void {
    this.#view.unmap(0, this.#sizeBytes)
  }
}

/** Why a window is not visible, from the result of `startViewWindow`. */
function explainStart(result: number): string {
  switch (-result) {
    case constants.errno.ENOTCONN:
      return 'the window can not be shown: the frontend has given no channel for requests (SET_BACKEND_REQ_FD)'
    case constants.errno.EIO:
      return 'the window can not be shown: the frontend has refused SHMEM_MAP; its own log says why'
    case constants.errno.ETIMEDOUT:
      return `the window can not be shown: no memory table of the frontend has held it for ${TABLE_TIMEOUT_MS / 1000} s`
    case constants.errno.EINTR:
      return 'the window is not shown: the device was stopped meanwhile'
    default:
      return `the window can not be shown: ${getSystemErrorName(result)}`
  }
}
