// SPDX-License-Identifier: Apache-2.0
/** No DAX window. */
import { constants } from 'node:os'
import type { WindowMapper } from './window-mapper.ts'

export class NullMapper implements WindowMapper {
  readonly size = 0
  readonly upgrades = false

  start(): number {
    return 0
  }

  map(): number {
    return -constants.errno.EOPNOTSUPP
  }

  unmap(): number {
    return -constants.errno.EOPNOTSUPP
  }

  reset(): void {}
}
