// SPDX-License-Identifier: Apache-2.0
/** INIT and DESTROY while another queue is still busy for the session before: it leaves nothing behind in the next one. */
import { constants, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mountBadDisk } from './harness/bad-disk.ts'
import { Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import type { PendingRequest } from './harness/fuse-transport.ts'
import { outcome, type Session, startSession } from './harness/session.ts'
import { DAX_INIT_FLAGS, RANGE, readCounters, startWindowSession } from './harness/window-session.ts'
import { cString, pack } from './harness/wire.ts'
import type { MisbehavingFs, Operation } from './misbehaving-fs.ts'

const { O_RDWR, O_RDONLY } = constants

/** A second mount while a request on queue 2 hangs in `operation`. @returns the request, after it has gone on */
async function mountMeanwhile(
  session: Session,
  disk: MisbehavingFs,
  operation: Operation,
  submit: () => PendingRequest,
  how: 'INIT' | 'DESTROY',
): Promise<PendingRequest> {
  const { client, transport } = session
  const rule = await disk.stall(operation)
  const pending = submit()
  await rule.hit()
  if (how === 'DESTROY') client.destroy()
  client.init(DAX_INIT_FLAGS)
  await rule.end()
  transport.waitFor(() => pending.done, 'the request of the session before')
  return pending
}

/** On queue 2. */
function submitAside(session: Session, opcode: number, nodeid: bigint, args: Uint8Array): PendingRequest {
  const queue = session.queues[2]
  if (queue === undefined) throw new Error('no queue 2')
  return session.transport.submit(opcode, nodeid, args, { replyBytes: 256, queue })
}

const requests: Record<string, { operation: Operation; opcode: number; args: Uint8Array; onFile?: true }> = {
  LOOKUP: { operation: 'getattr', opcode: Opcode.LOOKUP, args: cString('unknown') },
  MKDIR: { operation: 'mkdir', opcode: Opcode.MKDIR, args: pack(['u32', 0o755], ['u32', 0], cString('new')) },
  CREATE: {
    operation: 'create',
    opcode: Opcode.CREATE,
    args: pack(['u32', O_RDWR], ['u32', 0o644], ['u32', 0], ['u32', 0], cString('new')),
  },
  OPEN: { operation: 'open', opcode: Opcode.OPEN, args: pack(['u32', O_RDONLY], ['u32', 0]), onFile: true },
}

test.each([
  ['LOOKUP', 'INIT'],
  ['MKDIR', 'DESTROY'],
  ['CREATE', 'INIT'],
  ['OPEN', 'DESTROY'],
] as const)('%s under way at %s makes no inode and no handle', async (name, how) => {
  const request = requests[name]
  if (request === undefined) throw new Error(name)
  const disk = await mountBadDisk()
  for (const file of ['file', 'unknown']) writeFileSync(join(disk.backing, file), '')
  // Each inode and each handle has a descriptor then.
  const session = await startSession({ sharedDir: disk.mountPoint, queues: 3, args: ['--inode-file-handles=never'] })
  const { client, daemon } = session
  const before = daemon.openFiles
  const nodeid = request.onFile ? client.lookup(ROOT_ID, 'file').nodeid : ROOT_ID
  const submit = (): PendingRequest => submitAside(session, request.opcode, nodeid, request.args)
  const pending = await mountMeanwhile(session, disk, request.operation, submit, how)
  expect(outcome(() => pending.result())).toBe('ENOTCONN')
  expect(daemon.openFiles).toBe(before)
  // The new session is whole.
  client.getattr(client.lookup(ROOT_ID, 'file').nodeid)
})

test('SETUPMAPPING under way at INIT maps nothing', async () => {
  const disk = await mountBadDisk()
  writeFileSync(join(disk.backing, 'file'), Buffer.alloc(RANGE, 1))
  const session = await startWindowSession({ sharedDir: disk.mountPoint, queues: 3 })
  const { client, window } = session
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const args = pack(['u64', 0xffff_ffff_ffff_ffffn], ['u64', 0], ['u64', RANGE], ['u64', 1], ['u64', 0])
  const submit = (): PendingRequest => submitAside(session, Opcode.SETUPMAPPING, nodeid, args)
  const pending = await mountMeanwhile(session, disk, 'open', submit, 'INIT')
  expect(outcome(() => pending.result())).toBe('ENOTCONN')
  expect((await readCounters(session)).live).toBe(0)
  expect(window.log).toEqual([])
})
