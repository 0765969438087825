// SPDX-License-Identifier: Apache-2.0
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  return request.call(request.fileSystem.operations.readlink)
}

export const readlink = operation(serve, 0, 1)
