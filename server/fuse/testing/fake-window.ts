// SPDX-License-Identifier: Apache-2.0
/** A SessionWindow that writes down what it is asked, and can be told to fail. */
import type { SessionWindow } from '../../dax/session-window.ts'

export class FakeWindow implements SessionWindow {
  size: number
  readonly calls: string[] = []
  /** What `start` answers. */
  startResult = 0

  constructor(size: number) {
    this.size = size
  }

  start(): number {
    this.calls.push('start')
    return this.startResult
  }

  reset(): void {
    this.calls.push('reset')
  }
}
