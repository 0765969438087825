// SPDX-License-Identifier: Apache-2.0
/** `viewfsdctl dax` on a memory view: faults, and what the frontend's page tables have, by huge pages and by small ones. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { RANGE, READ, startWindowSession } from './harness/window-session.ts'

const VIEWFSDCTL = resolve(import.meta.dirname, '../../dist/server/viewfsdctl.js')

/** A tmpfs whose files are in memory by 2 MiB, or by small pages only. */
function tmpfs(huge: 'always' | 'never'): string {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-use-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `huge=${huge}`, 'viewfsd-test', directory])
  onTestFinished(() => {
    execFileSync('umount', ['-l', directory])
    rmSync(directory, { recursive: true })
  })
  return directory
}

test.each(['always', 'never'] as const)('tells how the frontend has a range: huge=%s', async (huge) => {
  const { client, daemon, window } = await startWindowSession({ window: 'memory-view', sharedDir: tmpfs(huge) })
  const file = join(daemon.sharedDir, 'file')
  writeFileSync(file, Buffer.alloc(2 * RANGE, 1))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  client.setupMapping(nodeid, RANGE, RANGE, READ, 4 * RANGE)
  client.setupMapping(nodeid, 0, RANGE, READ, 6 * RANGE)
  const dax = (...args: readonly string[]): string =>
    execFileSync(process.execPath, [VIEWFSDCTL, `--socket=${daemon.socketPath}`, ...args, 'dax', file], {
      encoding: 'utf8',
    })
  const none = { faults: 0, mappedBytes: 0, hugeBytes: 0 }
  expect(JSON.parse(dax('--json'))).toMatchObject({
    use: none,
    mapped: [{ path: '/file', ranges: [{ use: none }, { use: none }] }],
  })
  for (let offset = 0; offset < RANGE; offset += 4096) window.read(4 * RANGE + offset, 1)
  const all = { mappedBytes: RANGE, hugeBytes: huge === 'always' ? RANGE : 0 }
  const report: unknown = JSON.parse(dax('--json'))
  const ranges = [{ windowOffset: 4 * RANGE, use: all }, { use: none }]
  expect(report).toMatchObject({ inUse: true, use: all, mapped: [{ path: '/file', ranges }] })
  expect(dax()).toMatch(/, [1-9][0-9]* faults?, 2 MiB in use, (2 MiB|0 B) by pages of 2 MiB\n/)
})
