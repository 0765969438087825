// SPDX-License-Identifier: Apache-2.0
import { FuseKstatfs } from '../fuse/abi.ts'
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const result = request.call(request.fileSystem.operations.statfs)
  return result < 0 ? result : FuseKstatfs.SIZE
}

export const statfs = operation(serve, 0, FuseKstatfs.SIZE)
