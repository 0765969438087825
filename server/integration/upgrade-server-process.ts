// SPDX-License-Identifier: Apache-2.0
/**
 * upgrade-server-process.js DAEMON UPGRADES LINK PROGRAM OTHER: so often, LINK comes to lead to the other one of two programs, and the
 * daemon is told to let that go on, once the one before serves, which the daemon's log on standard input says. A process of
 * its own, since the guest of a test waits in system calls.
 */
import { renameSync, symlinkSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const [daemon = 0, upgrades = 0] = process.argv.slice(2, 4).map(Number)
const [link = '', ...programs] = process.argv.slice(4)
let done = 0

async function upgrade(): Promise<void> {
  await delay(Math.random() * 100)
  done++
  symlinkSync(programs[done % 2] ?? '', `${link}.new`)
  renameSync(`${link}.new`, link)
  process.kill(daemon, 'SIGHUP')
}

const lines = createInterface({ input: process.stdin })
await upgrade()
for await (const line of lines) {
  if (!line.includes('"server-restarted"')) continue
  if (done === upgrades) break
  await upgrade()
}
process.exit(0)
