// SPDX-License-Identifier: Apache-2.0
/** For processes that disturb a daemon with --on-crash=restart, whose log comes on their standard input. */
import { createInterface } from 'node:readline'

/** Disturbs so often, first at once, then each time that another server serves. @returns when the last one does */
export async function disturbEachServer(times: number, disturb: () => Promise<void>): Promise<void> {
  const lines = createInterface({ input: process.stdin })
  let done = 0
  await disturb()
  for await (const line of lines) {
    if (!line.includes('"server-restarted"')) continue
    if (++done === times) break
    await disturb()
  }
}
