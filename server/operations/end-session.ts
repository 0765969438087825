// SPDX-License-Identifier: Apache-2.0
import type { RequestContext } from './request-context.ts'

/**
 * Forgets everything that the guest, or the one before it, had: inodes, handles, mappings. What other queues are still
 * doing for it leaves nothing behind.
 * @returns what `session.start` wants
 */
export function endSession(context: RequestContext): number {
  const ended = context.session.clear()
  context.channel.beginSession()
  context.window.reset()
  context.fileSystem.reset()
  return ended
}
