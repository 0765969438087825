// SPDX-License-Identifier: Apache-2.0
/** From inside: what the daemon's process can't do any more. sandbox-probe.ts shuts itself in as the daemon does. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { reachableCheckout } from './harness/reachable-checkout.ts'

const PROBE = join(reachableCheckout(), 'dist/server/integration/sandbox-probe.js')
const NOBODY = 65534

interface Outcome {
  readonly result?: unknown
  readonly signal: NodeJS.Signals | null
  readonly status: number | null
  readonly stderr: string
}

/** Tries a door on the main thread or in a worker that starts behind the doors. */
function knock(kind: string, seccomp: string, door: string, thread: 'main' | 'worker', uid = 0): Outcome {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  chmodSync(directory, 0o755)
  const share = join(directory, 'share')
  mkdirSync(share)
  chmodSync(share, 0o777)
  writeFileSync(join(share, 'file'), '#!/bin/sh\n', { mode: 0o755 })
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [PROBE, kind, seccomp, share, door, thread], {
    encoding: 'utf8',
    uid,
    gid: uid,
    timeout: 60_000,
  })
  if (stdout === '') return { signal, status, stderr }
  const printed: unknown = JSON.parse(stdout)
  const result = typeof printed === 'object' && printed !== null && 'result' in printed ? printed.result : undefined
  return { result, signal, status, stderr }
}

/** Doors that are seen to be shut. */
const SHUT: Readonly<Record<string, unknown>> = {
  'host file': 'ENOENT',
  'proc of the host': 'ENOENT',
  'above the root': 'file',
  'parent of the descriptors': 'itself',
  'above the descriptors': -2,
}

/** Answers of the filter. */
const REFUSED: Readonly<Record<string, number>> = {
  'code of a file': -1,
  'link of a guest': -2,
  io_uring: -38,
  'io_uring of ours': -38,
  clone3: -38,
}

/** What ends the process. */
const DEADLY = [
  'unix socket',
  'internet socket',
  'connect',
  'bind',
  'execve',
  'execveat',
  'fork',
  'process',
  'process by clone',
  'kill',
  'ptrace',
  'io_uring_register',
  'process_vm_readv',
  'mount',
  'chroot',
  'pivot_root',
  'setns',
  'new user namespace',
  'open_tree',
  'ioctl',
  'prctl',
  'bpf',
  'memfd_create',
  'finit_module',
  'x32',
]

beforeAll(() => {
  if (process.arch !== 'x64') throw new Error('the numbers of system calls are those of x86-64')
  if (process.geteuid?.() !== 0) throw new Error('these tests need root')
})

describe.each([
  ['namespace', 0],
  ['namespace', NOBODY],
  ['chroot', 0],
])('--sandbox=%s as uid %i', (kind, uid) => {
  test.each(['main', 'worker'] as const)('shows the shared directory alone to the %s thread', (thread) => {
    for (const [door, expected] of Object.entries(SHUT)) {
      const outcome = knock(kind, 'none', door, thread, uid)
      expect(outcome, door).toMatchObject({ result: expected, status: 0 })
    }
  })

  test('takes the capabilities that could open it, even without a filter', () => {
    for (const door of ['chroot', 'mount', 'pivot_root']) {
      expect(knock(kind, 'none', door, 'main', uid).result, door).toBe(-1)
    }
  })
})

test('opens no device, whoever made its node', () => {
  expect(knock('namespace', 'none', 'device node', 'main').result).toBe(-13)
})

test('lets no code in from a file', () => {
  expect(knock('namespace', 'none', 'code of a file', 'main').result).toBe(-1)
})

test.each(['main', 'worker'] as const)('answers some calls of the %s thread with an error', (thread) => {
  for (const [door, result] of Object.entries(REFUSED)) {
    expect(knock('namespace', 'kill', door, thread), door).toMatchObject({ result, status: 0 })
  }
})

test.each(DEADLY)('ends the process at %s', (door) => {
  expect(knock('namespace', 'kill', door, 'main')).toMatchObject({ signal: 'SIGSYS' })
})

test.each(['execve', 'unix socket', 'fork', 'mount'])('ends it in a thread that starts later, too: %s', (door) => {
  expect(knock('namespace', 'kill', door, 'worker')).toMatchObject({ signal: 'SIGSYS' })
  expect(knock('chroot', 'kill', door, 'worker')).toMatchObject({ signal: 'SIGSYS' })
  expect(knock('none', 'kill', door, 'worker')).toMatchObject({ signal: 'SIGSYS' })
})

test('traps, or only logs, where that is asked for', () => {
  expect(knock('namespace', 'trap', 'unix socket', 'main')).toMatchObject({ signal: 'SIGSYS' })
  expect(knock('namespace', 'log', 'unix socket', 'main').result).toBeGreaterThan(0)
})
