// SPDX-License-Identifier: Apache-2.0
import { endSession } from './end-session.ts'
import { operation } from './operation.ts'
import type { RequestContext } from './request-context.ts'

function serve(request: RequestContext): number {
  endSession(request)
  return 0
}

export const destroy = operation(serve, 0, 0, { early: true })
