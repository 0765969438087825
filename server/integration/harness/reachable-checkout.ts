// SPDX-License-Identifier: Apache-2.0
/**
 * The checkout at a place that every user can reach (vitest's globalSetup): tests start the daemon as an ordinary user,
 * who could not read a checkout below /root.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** Also for the fuzzers, which run the built harness in dist/. */
const HERE = resolve(import.meta.dirname, '../../..').replace(/\/dist$/, '')
const VARIABLE = 'VIEWFSD_TEST_CHECKOUT'

/** The checkout's path for the process that a test starts. */
export function reachableCheckout(): string {
  return process.env[VARIABLE] ?? HERE
}

/** @returns what ends it */
export default function setUp(): () => void {
  const mountPoint = mkdtempSync(join(tmpdir(), 'viewfsd-checkout-'))
  chmodSync(mountPoint, 0o755)
  // In the rig, parts of the checkout are mounts; the end of these is not to reach theirs.
  execFileSync('mount', ['--rbind', '--make-rprivate', HERE, mountPoint])
  process.env[VARIABLE] = mountPoint
  return () => {
    execFileSync('umount', ['--lazy', mountPoint])
    // Never recursively: what is mounted there is the checkout.
    rmdirSync(mountPoint)
  }
}
