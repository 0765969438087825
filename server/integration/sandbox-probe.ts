// SPDX-License-Identifier: Apache-2.0
/**
 * A program that shuts itself in exactly as the daemon does and then tries one door: other last lines in place of the
 * daemon's. Usage: sandbox-probe.js KIND SECCOMP SHARED-DIR DOOR main|worker
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { closeDoors } from '../sandbox/doors.ts'
import { launch, takeLaunched } from '../sandbox/launch.ts'
import { SANDBOX_CHOICES, type SandboxOptions, SECCOMP_CHOICES } from '../sandbox/options.ts'
import { tryDoor } from './sandbox-doors.ts'

const [script = '', kind, action, sharedDir = '', door = '', thread] = process.argv.slice(1)
const sandbox = SANDBOX_CHOICES.find((choice) => choice === kind)
const seccomp = SECCOMP_CHOICES.find((choice) => choice === action)
if (sandbox === undefined || seccomp === undefined) throw new Error('usage')

const options: SandboxOptions = {
  onCrash: 'exit',
  sandbox,
  seccomp,
  modcaps: [],
  readonly: false,
  inodeFileHandles: 'never',
  uidMap: [],
  gidMap: [],
}
const launched = takeLaunched()
if (launched === undefined) {
  launch({
    options,
    sharedDir,
    view: false,
    cleanup: [],
    listener: 0,
    controlListener: -1,
    metricsListener: -1,
    descriptors: [],
    argv: [script, ...process.argv.slice(2)],
  })
}

const require = createRequire(import.meta.url)
const addonPath = require.resolve('../../../native/build/test/raw_syscall.node')
process.dlopen({ exports: {} }, addonPath)
require.resolve('node:child_process')
// The host is still there: what fails below fails because of the doors.
readFileSync('/etc/passwd')

closeDoors(launched, options)
if (thread === 'worker') {
  const source = `const { workerData: w } = require('node:worker_threads')
;(${tryDoor.toString()})(require, w.addonPath, w.procFds, w.door)`
  const worker = new Worker(source, { eval: true, workerData: { addonPath, procFds: launched.procFds, door } })
  worker.once('error', (error) => {
    throw error
  })
} else {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same function, as the worker has it
  tryDoor(require as never, addonPath, launched.procFds, door)
}
