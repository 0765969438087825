// SPDX-License-Identifier: Apache-2.0
import { MODIFIES, NAME, operation } from './operation.ts'
import { BODY, type RequestContext } from './request-context.ts'
import { takeXattrName } from './xattr-name.ts'

function serve(request: RequestContext): number {
  const next = takeXattrName(request, BODY)
  return next < 0 ? next : request.call(request.fileSystem.operations.removexattr)
}

export const removexattr = operation(serve, NAME, 0, MODIFIES)
