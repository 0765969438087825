// SPDX-License-Identifier: Apache-2.0
import { FuseLkIn } from '../fuse/abi.ts'
import { setLock } from './lock.ts'
import { operation } from './operation.ts'

export const setlk = operation(setLock, FuseLkIn.SIZE)
