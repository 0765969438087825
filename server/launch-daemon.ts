// SPDX-License-Identifier: Apache-2.0
/** Before the sandbox: what the user may ask for, and handing the command line to the launcher. */
import { rmSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { setDescriptorLimit } from './descriptor-limit.ts'
import { type Listener, openListener, socketFiles } from './listener.ts'
import { EXIT_FAILURE, UsageError } from './options/usage-error.ts'
import type { Options } from './options.ts'
import { launch } from './sandbox/launch.ts'

/**
 * virtiofsd's own conditions, with its exit status. Of the process that was started: in a user namespace the daemon may
 * well be root.
 * @throws UsageError
 */
export function checkUser(options: Options): void {
  const root = process.geteuid?.() === 0
  if (options.sandbox === 'chroot' && !root) fail('--sandbox=chroot: only root can; use --sandbox=namespace')
  for (const [name, map] of [
    ['uid-map', options.uidMap],
    ['gid-map', options.gidMap],
  ] as const) {
    if (map.length > 0 && (root || options.sandbox !== 'namespace')) {
      const given = map.map(({ inside, outside, count }) => `--${name}=:${inside}:${outside}:${count}:`).join(' ')
      fail(`${given}: only with --sandbox=namespace, and not for root, whose namespace has all ids; leave it out`)
    }
  }
}

/** @throws UsageError unless it is a directory */
export function checkSharedDir({ sharedDir }: Options): void {
  let reason: string | undefined
  try {
    if (!statSync(sharedDir).isDirectory())
      reason = 'not a directory (ENOTDIR); to share one file, share the directory that it is in'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    reason = code === 'ENOENT' ? 'there is no such directory (ENOENT); make it, or name another' : code
    if (code === 'EACCES') reason = 'this user may not look at it (EACCES); run as one who may'
  }
  if (reason !== undefined) fail(`--shared-dir=${sharedDir}: ${reason}`)
}

function fail(message: string): never {
  throw new UsageError(message, EXIT_FAILURE)
}

/** Does not return; where the launcher can't be started, the process ends with status 1. */
// oxlint-disable-next-line typescript/consistent-return -- neither branch returns
export function launchDaemon(options: Options): never {
  let listener: Listener | undefined
  try {
    // While CAP_SYS_RESOURCE is there. The daemon says what there is to say about it.
    setDescriptorLimit(options.descriptorLimit)
    const [, script = '', ...args] = process.argv
    // Here, where all paths and groups are those that were meant.
    listener = openListener(options)
    launch({
      options,
      sharedDir: resolve(options.sharedDir),
      view: options.window === 'auto' || options.window === 'memory-view',
      cleanup: socketFiles(options).map((path) => resolve(path)),
      listener: listener.fd,
      controlListener: listener.control,
      metricsListener: listener.metrics,
      descriptors: [listener.lock, listener.control, listener.metrics].filter((fd) => fd >= 0),
      argv: [script, ...args],
    })
  } catch (error) {
    if (listener !== undefined) for (const path of socketFiles(options)) rmSync(path, { force: true })
    process.stderr.write(`viewfsd: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  }
}
