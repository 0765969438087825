// SPDX-License-Identifier: Apache-2.0
/**
 * An ext4 file system of its own as temporary directory of the native tests (vitest's globalSetup): what a test expects of
 * inode numbers, flags, handles and times is then true on every machine, whatever its /tmp is and whoever else uses it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SIZE_BYTES = 4 * 2 ** 30
/** Room for a million files (VIEWFSD_MANY_FILES). */
const INODES = 1_100_000

function run(command: string, ...args: string[]): void {
  // Without the sanitizer that the tests themselves may be preloaded with.
  execFileSync(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
}

/** @returns what ends it */
export default function setUp(): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-native-'))
  const image = join(directory, 'image')
  const mountPoint = join(directory, 'tmp')
  writeFileSync(image, '')
  truncateSync(image, SIZE_BYTES)
  run('mkfs.ext4', '-q', '-F', '-N', String(INODES), '-E', 'lazy_itable_init=1', image)
  mkdirSync(mountPoint)
  run('mount', '-o', 'loop', image, mountPoint)
  process.env['TMPDIR'] = mountPoint
  return () => {
    run('umount', '--lazy', mountPoint)
    rmSync(directory, { recursive: true, force: true })
  }
}
