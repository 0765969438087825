// SPDX-License-Identifier: Apache-2.0
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  const next = request.takeName(BODY)
  return next < 0 ? next : request.call(request.fileSystem.operations.unlink)
}

export const unlink = operation(serve, NAME, 0, MODIFIES)
