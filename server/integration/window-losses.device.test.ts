// SPDX-License-Identifier: Apache-2.0
/** What a guest stores in a file on a full disk: lost, and the log says of which file. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { RANGE, READ, startWindowSession, WRITE } from './harness/window-session.ts'

const O_RDWR = 2

/** A disk without room, and a file there of nothing but holes. @returns its directory */
function fullDisk(): string {
  const disk = mkdtempSync(join(tmpdir(), 'viewfsd-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'viewfsd-test', disk])
  onTestFinished(() => {
    execFileSync('umount', ['-l', disk])
    rmSync(disk, { recursive: true })
  })
  writeFileSync(join(disk, 'holes'), '')
  truncateSync(join(disk, 'holes'), RANGE)
  expect(() => writeFileSync(join(disk, 'fill'), Buffer.alloc(RANGE))).toThrow(/ENOSPC/)
  return disk
}

test('the log names the file that a lost store was for', async () => {
  const { client, daemon, window } = await startWindowSession({ window: 'memory-view', sharedDir: fullDisk() })
  const { nodeid } = client.lookup(ROOT_ID, 'holes')
  client.open(nodeid, O_RDWR)
  client.setupMapping(nodeid, 0, RANGE, READ | WRITE, 3 * RANGE)
  expect(window.write(3 * RANGE + 8192, Buffer.from('lost'))).toBe(4)
  const named = (): string[] =>
    daemon.records.flatMap((record) =>
      typeof record === 'object' && record !== null && 'file' in record ? [String(record.file)] : [],
    )
  await daemon.until(() => named().length > 0, 'the log tells of the loss')
  // In the sandbox the shared directory is the root.
  expect(named()).toEqual(['/holes'])
})
