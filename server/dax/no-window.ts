// SPDX-License-Identifier: Apache-2.0
/** No DAX window. */
import type { SessionWindow } from './session-window.ts'

export class NoWindow implements SessionWindow {
  readonly size = 0

  start(): number {
    return 0
  }

  reset(): void {}
}
