// SPDX-License-Identifier: Apache-2.0
/** A WindowMapper that writes down what it is asked, and can be told to fail. */
import type { WindowMapper } from '../../dax/window-mapper.ts'

export class FakeMapper implements WindowMapper {
  readonly size: number
  readonly upgrades: boolean
  readonly calls: string[] = []
  /** What `start` and `map` answer. */
  startResult = 0
  mapResult = 0

  constructor(size: number, upgrades = true) {
    this.size = size
    this.upgrades = upgrades
  }

  start(): number {
    this.calls.push('start')
    return this.startResult
  }

  map(moffset: number, length: number, _fd: number, foffset: number, writable: boolean): number {
    this.calls.push(`map ${moffset} ${length} from ${foffset} ${writable ? 'rw' : 'r'}`)
    return this.mapResult
  }

  unmap(ranges: Float64Array, count: number): number {
    const text = Array.from({ length: count }, (_, index) => `${ranges[2 * index]}+${ranges[2 * index + 1]}`)
    this.calls.push(`unmap ${text.join(' ')}`)
    return 0
  }

  reset(): void {
    this.calls.push('reset')
  }
}
