// SPDX-License-Identifier: Apache-2.0
/** No DAX window. */
import type { WindowMapper } from './window-mapper.ts'

export class NullMapper implements WindowMapper {
  readonly size = 0

  start(): number {
    return 0
  }

  reset(): void {}
}
