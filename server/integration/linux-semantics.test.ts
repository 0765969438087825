// SPDX-License-Identifier: Apache-2.0
/**
 * What POSIX and Linux say of files (e2e/guest/tools/semantics), random operations beside a model, and several processes
 * at once, through this kernel's own FUSE client. What only virtio-fs has is left to the guests of e2e/tests/semantics.ts:
 * the window, submounts, SYNCFS; and so are waits for locks, for which the stand-in for a queue has no means.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import ownDisk from '../../native/test/testing/own-disk.ts'
import type { PassthroughOptions } from '../passthrough/options.ts'
import { DEV_FUSE_SERVER } from './harness/dev-fuse.ts'

const TOOLS = path.resolve(import.meta.dirname, '../../e2e/guest/tools')

/** All classes of checks but `copy`. */
const CLASSES =
  'credentials setid sticky open times locks acl xattr rename allocation tmpfile flags lifetime mapping links'.split(
    ' ',
  )

let scratch: string
let removeDisk: () => void
beforeAll(() => {
  removeDisk = ownDisk()
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'semantics-'))
  fs.chmodSync(os.tmpdir(), 0o755)
  fs.chmodSync(scratch, 0o755)
  for (const [name, sources] of [
    ['semantics', 'semantics/*.c'],
    ['file-model', 'file-model.c'],
    ['fs-mix', 'fs-mix.c'],
  ] as const)
    execFileSync('sh', ['-c', `\${CC:-cc} -O1 -o ${scratch}/${name} ${sources} -lrt`], { cwd: TOOLS })
})
afterAll(() => {
  removeDisk()
})

/** Runs one of the programs in a new folder there; what it said of failures. */
function run(program: string, args: readonly string[], there: string, more: readonly string[] = []): string {
  const folder = path.join(there, program)
  fs.mkdirSync(folder)
  const { status, stdout, stderr } = spawnSync(path.join(scratch, program), [...args, folder, ...more], {
    encoding: 'utf8',
  })
  return status === 0 ? '' : stdout.replaceAll(/^ok .*\n/gm, '') + stderr
}

async function mounted(name: string, options: Partial<PassthroughOptions>, body: (mountPoint: string) => void) {
  const share = path.join(scratch, name)
  const mountPoint = `${share}-mount`
  fs.mkdirSync(share)
  fs.mkdirSync(mountPoint)
  const server: ChildProcess = spawn(
    process.execPath,
    [...DEV_FUSE_SERVER, share, mountPoint, JSON.stringify(options), '3'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const exited = once(server, 'exit')
  try {
    if (server.stdout === null) throw new Error('no output')
    const [line] = await Promise.race([once(server.stdout, 'data'), exited.then(() => ['it has not started'])])
    if (!String(line).startsWith('ready')) throw new Error(String(line))
    body(mountPoint)
  } finally {
    spawnSync('umount', ['--lazy', mountPoint])
    server.kill('SIGKILL')
    await exited
  }
}

test('the checks hold on ext4 itself', () => {
  const there = path.join(scratch, 'itself')
  fs.mkdirSync(there)
  // ext4's own copy_file_range would fill the disk.
  expect(run('semantics', ['-t', 'acl'], there, CLASSES)).toBe('')
  expect(run('file-model', ['-n', '2000'], there)).toBe('')
  expect(run('fs-mix', ['-n', '500'], there)).toBe('')
})

const CONFIGURATIONS: readonly (readonly [string, Partial<PassthroughOptions>, string])[] = [
  ['auto', { cache: 'auto', posixAcl: 'always' }, 'acl'],
  ['always', { cache: 'always', killprivV2: true, inodeFileHandles: 'mandatory' }, 'killpriv-v2'],
  ['never', { cache: 'never', allowMmap: true, inodeFileHandles: 'never' }, 'direct'],
  [
    'writeback',
    { cache: 'always', writeback: true, killprivV2: true, posixAcl: 'always' },
    'writeback,acl,killpriv-v2',
  ],
]

test.each(CONFIGURATIONS)('the checks hold through FUSE: %s', async (name, options, traits) => {
  await mounted(name, options, (mountPoint) => {
    expect(run('semantics', ['-t', `fuse,sparse-copies,${traits}`], mountPoint)).toBe('')
    expect(run('file-model', ['-n', '2000'], mountPoint)).toBe('')
    expect(run('fs-mix', ['-n', '500'], mountPoint)).toBe('')
  })
})
