// SPDX-License-Identifier: Apache-2.0
/** A guest that changes files, each reply compared with a model, while another process disturbs the daemon. */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { ChangingFile, STEPS, type Step } from './changing-file.ts'
import type { Session } from './session.ts'

/** Requests that are under way at a time. */
const TOGETHER = 8
const PROGRAMS = join(import.meta.dirname, '../../../dist/server/integration')

/**
 * Until the disturber has ended, and all files are gone again.
 * @param program of dist/server/integration/; gets the daemon's id, then `args`, and its log as it grows on standard input
 */
export async function changeFilesWhile(
  { daemon, transport }: Session,
  program: string,
  args: readonly string[],
): Promise<void> {
  const follow = spawn('tail', ['-n', '+1', '-f', join(daemon.directory, 'log')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const disturber = spawn(process.execPath, [join(PROGRAMS, program), String(daemon.pid), ...args], {
    stdio: [follow.stdout, 'pipe', 'inherit'],
  })
  onTestFinished(() => {
    follow.kill()
    disturber.kill()
  })
  const files = Array.from({ length: TOGETHER }, (_, index) => new ChangingFile(transport, `file-${index}`))
  const round = (): void => {
    const steps: Step[] = files.map((file) => file.step())
    transport.waitFor(() => steps.every(({ request }) => request.done), 'a round of requests')
    for (const { check } of steps) check()
  }
  let rounds = 0
  while (disturber.exitCode === null && disturber.signalCode === null) {
    round()
    rounds++
    // Lets the disturber's events come.
    if (rounds % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  for (; rounds % STEPS !== 0; rounds++) round()
  expect(readdirSync(daemon.sharedDir)).toEqual([])
}
