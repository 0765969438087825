// SPDX-License-Identifier: Apache-2.0
import { FuseInterruptIn } from '../fuse/abi.ts'
import { getU64 } from '../fuse/wire.ts'
import { operation } from './operation.ts'
import { BODY, COMPLETED, type RequestContext } from './request-context.ts'

/** Ends a request that waits; any other request is over before its INTERRUPT could be read. No reply. */
function serve({ channel, session, view }: RequestContext): number {
  session.interrupt(getU64(view, BODY + FuseInterruptIn.unique), channel.session)
  channel.noReply()
  return COMPLETED
}

export const interrupt = operation(serve, FuseInterruptIn.SIZE, 0, { silent: true })
