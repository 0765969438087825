// SPDX-License-Identifier: Apache-2.0
/** Moves a guest from one QEMU to another, or into a file and out of it (QEMU's docs/devel/migration). */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Guest } from './guest.ts'

/** Longer than it takes on a machine that emulates several hosts at once. */
const TIMEOUT_MS = 600_000
const INTERVAL_MS = 50

/** @param end a status of query-migrate, or, of the receiving side, of query-status */
async function until(guest: Guest, command: 'query-migrate' | 'query-status', end: string): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS
  for (;;) {
    const answer = JSON.stringify(await guest.qmp.command(command))
    if (answer.includes(`"status":"${end}"`)) return
    if (/"status":"(failed|cancelled|internal-error)"/.test(answer))
      throw new Error(`the migration has failed: ${answer}`)
    if (Date.now() > deadline) throw new Error(`the migration does not end: ${answer}`)
    await sleep(INTERVAL_MS)
  }
}

/** Moves a running guest into `to`, from Guest.receive, where it goes on; `from` is left to be killed. */
export async function moveGuest(from: Guest, to: Guest): Promise<void> {
  const uri = `unix:${to.options.dir}/incoming.sock`
  await to.qmp.command('migrate-incoming', { uri })
  await from.qmp.command('migrate', { uri })
  await until(from, 'query-migrate', 'completed')
  await until(to, 'query-status', 'running')
}

/** Writes a guest into a file; `from` is left to be killed. */
export async function snapshotGuest(from: Guest, file: string): Promise<void> {
  await from.qmp.command('migrate', { uri: `file:${file}` })
  await until(from, 'query-migrate', 'completed')
}

/** Lets it go on in `to`, from Guest.receive. */
export async function restoreGuest(to: Guest, file: string): Promise<void> {
  await to.qmp.command('migrate-incoming', { uri: `file:${file}` })
  await until(to, 'query-status', 'running')
}
