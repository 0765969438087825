// SPDX-License-Identifier: Apache-2.0
import type { FakeChannel } from '../../fuse/testing/fake-channel.ts'
import { type FuseRequest, type Known, learn } from './fuse-grammar.ts'
import { fillSecret, holdsSecret } from './secret.ts'

/**
 * Has one request served, and checks what must hold for any: it is completed once (the channel sees to that) or given
 * back, and nothing of the server's memory but what the request and the reply are made of is in the reply.
 * @returns opcode and error as a number
 */
export function serve(
  server: { handle(channel: FakeChannel): void },
  channel: FakeChannel,
  request: FuseRequest,
  known: Known,
): number {
  const { opcode, message, replyCapacity } = request
  channel.load(message, replyCapacity)
  fillSecret(channel.replyBytes, 0, Math.max(1024, replyCapacity))
  server.handle(channel)
  const { completion, givenBack } = channel
  if (givenBack) return opcode * 8192 + 8190
  if (completion === undefined) throw new Error(`opcode ${opcode} was not completed`)
  if (completion === null) return opcode * 8192 + 8191
  if (holdsSecret(completion.body)) throw new Error(`the reply to opcode ${opcode} holds memory of the server`)
  if (completion.error !== 0 && completion.body.length > 0) throw new Error('an error with a body')
  if (completion.error === 0) learn(request, completion.body, known)
  return opcode * 8192 - completion.error
}
