// SPDX-License-Identifier: Apache-2.0
/**
 * The server is killed at random instants while a guest changes files, with several requests under way, and each reply is compared
 * with a model. VIEWFSD_KILLS=10000 for a long run by hand.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { changeFilesWhile } from './harness/disturbed.ts'
import { serverBelow } from './harness/serving-process.ts'
import { startSession } from './harness/session.ts'

const KILLS = Number(process.env.VIEWFSD_KILLS ?? 12)

test(`answers as the model does, whenever the server is killed (${KILLS} times)`, {
  timeout: 60_000 + KILLS * 5000,
}, async () => {
  const session = await startSession({
    // So that an inode that is known costs a descriptor, which can be seen.
    args: ['--on-crash=restart', '--inode-file-handles=never'],
  })
  const { daemon } = session
  await changeFilesWhile(session, 'kill-server-process.js', [String(KILLS), '100'])
  // Nothing is known or open that the guest has given up.
  expect(filesOf(serverBelow(daemon.pid))).toEqual([])
  const restarts = readFileSync(join(daemon.directory, 'log'), 'utf8').match(/"server-restarted"/gu)
  expect(restarts?.length).toBe(KILLS)
})

/** Those of the guest's that a process has descriptors of. */
function filesOf(pid = 0): string[] {
  const directory = `/proc/${pid}/fd`
  return readdirSync(directory)
    .map((fd) => readlinkSync(join(directory, fd)))
    .filter((file) => file.includes('/file-'))
}
