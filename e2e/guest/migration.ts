// SPDX-License-Identifier: Apache-2.0
/** Moves a guest from one QEMU to another, or into a file and out of it (QEMU's docs/devel/migration). */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Guest } from './guest.ts'

/** Longer than it takes on a machine that emulates several hosts at once. */
const TIMEOUT_MS = 600_000
const INTERVAL_MS = 50

/**
 * @param end a status of query-migrate, or, of the receiving side, of query-status
 * @returns what the command says then
 */
async function until(guest: Guest, command: 'query-migrate' | 'query-status', end: string): Promise<unknown> {
  const deadline = Date.now() + TIMEOUT_MS
  for (;;) {
    const said = await guest.qmp.command(command)
    const answer = JSON.stringify(said)
    if (answer.includes(`"status":"${end}"`)) return said
    if (/"status":"(failed|cancelled|internal-error)"/.test(answer))
      throw new Error(`the migration has failed: ${answer}`)
    if (Date.now() > deadline) throw new Error(`the migration does not end: ${answer}`)
    await sleep(INTERVAL_MS)
  }
}

/** What QEMU says of a migration that it has sent (MigrationInfo). */
export interface Sent {
  /** Milliseconds from the start, and those of them in which the guest stood still. */
  readonly 'total-time': number
  readonly downtime: number
}

/** Sends a running guest to `uri`; `from` is left to be killed. */
export async function sendGuest(from: Guest, uri: string): Promise<Sent> {
  await from.qmp.command('migrate', { uri })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- QEMU's schema has both for what is completed
  return (await until(from, 'query-migrate', 'completed')) as Sent
}

/** Lets `to`, from Guest.receive, listen on `uri`. */
export async function expectGuest(to: Guest, uri: string): Promise<void> {
  await to.qmp.command('migrate-incoming', { uri })
}

/** Waits until the guest goes on in `to`. */
export async function guestHasCome(to: Guest): Promise<void> {
  await until(to, 'query-status', 'running')
}

/** Moves a running guest into `to`, from Guest.receive, where it goes on; `from` is left to be killed. */
export async function moveGuest(from: Guest, to: Guest): Promise<void> {
  const uri = `unix:${to.options.dir}/incoming.sock`
  await expectGuest(to, uri)
  await sendGuest(from, uri)
  await guestHasCome(to)
}

/** Writes a guest into a file; `from` is left to be killed. */
export async function snapshotGuest(from: Guest, file: string): Promise<void> {
  await sendGuest(from, `file:${file}`)
}

/** Lets it go on in `to`, from Guest.receive. */
export async function restoreGuest(to: Guest, file: string): Promise<void> {
  await expectGuest(to, `file:${file}`)
  await guestHasCome(to)
}
