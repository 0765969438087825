// SPDX-License-Identifier: Apache-2.0
/**
 * The server is killed at random instants while a guest changes files, with several requests under way, and each reply is compared
 * with a model. VIEWFSD_KILLS=10000 for a long run by hand.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ChangingFile, STEPS, type Step } from './harness/changing-file.ts'
import { serverBelow } from './harness/serving-process.ts'
import { startSession } from './harness/session.ts'

const KILLS = Number(process.env.VIEWFSD_KILLS ?? 12)
/** Requests that are under way at a time. */
const TOGETHER = 8

test(`answers as the model does, whenever the server is killed (${KILLS} times)`, {
  timeout: 60_000 + KILLS * 5000,
}, async () => {
  const { daemon, transport } = await startSession({
    // So that an inode that is known costs a descriptor, which can be seen.
    args: ['--on-crash=restart', '--inode-file-handles=never'],
  })
  const follow = spawn('tail', ['-n', '+1', '-f', join(daemon.directory, 'log')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const program = join(import.meta.dirname, '../../dist/server/integration/kill-server-process.js')
  const killer = spawn(process.execPath, [program, String(daemon.pid), String(KILLS), '100'], {
    stdio: [follow.stdout, 'pipe', 'inherit'],
  })
  onTestFinished(() => {
    follow.kill()
    killer.kill()
  })
  const files = Array.from({ length: TOGETHER }, (_, index) => new ChangingFile(transport, `file-${index}`))
  const round = (): void => {
    const steps: Step[] = files.map((file) => file.step())
    transport.waitFor(() => steps.every(({ request }) => request.done), 'a round of requests')
    for (const { check } of steps) check()
  }
  let rounds = 0
  while (killer.exitCode === null && killer.signalCode === null) {
    round()
    rounds++
    // Lets the events of the killer come.
    if (rounds % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  for (; rounds % STEPS !== 0; rounds++) round()
  expect(readdirSync(daemon.sharedDir)).toEqual([])
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
