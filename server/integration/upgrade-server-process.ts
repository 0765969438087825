// SPDX-License-Identifier: Apache-2.0
/**
 * upgrade-server-process.js DAEMON UPGRADES LINK PROGRAM OTHER: so often, LINK comes to lead to the other one of two programs, and the
 * daemon is told to let that go on, once the one before serves, which the daemon's log on standard input says. A process of
 * its own, since the guest of a test waits in system calls.
 */
import { renameSync, symlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { disturbEachServer } from './harness/each-server.ts'

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

await disturbEachServer(upgrades, upgrade)
process.exit(0)
