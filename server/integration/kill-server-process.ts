// SPDX-License-Identifier: Apache-2.0
/**
 * kill-server-process.js DAEMON KILLS MOST_MS: kills the server below that process so often, each time up to so many milliseconds
 * after its successor serves, which the daemon's log on standard input says; later where they take long to start, so that not
 * each of them ends before its queue threads have begun. A process of its own, since the guest of a test waits in system calls.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { disturbEachServer } from './harness/each-server.ts'
import { serverBelow } from './harness/serving-process.ts'

const [daemon = 0, kills = 0, most = 0] = process.argv.slice(2).map(Number)
let last = performance.now()

async function kill(): Promise<void> {
  await delay(Math.random() * Math.max(most, performance.now() - last))
  const server = serverBelow(daemon)
  if (server === undefined) throw new Error('nobody serves')
  process.kill(server, 'SIGKILL')
  last = performance.now()
}

await disturbEachServer(kills, kill)
process.exit(0)
