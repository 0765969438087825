// SPDX-License-Identifier: Apache-2.0
/** The command line: what is refused, how, and with which exit status. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { makeScratch, removeScratch } from './harness/daemon.ts'

const PROGRAM = resolve(import.meta.dirname, '../../dist/server/main.js')

function scratch(): string {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  mkdirSync(join(directory, 'share'))
  writeFileSync(join(directory, 'file'), '')
  return directory
}

function run(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8', timeout: 30_000 })
}

test('refuses wrong options with status 2 and one line that names them', () => {
  const directory = scratch()
  const socket = `--socket-path=${join(directory, 'socket')}`
  const share = `--shared-dir=${join(directory, 'share')}`
  const cases: [args: string[], named: RegExp][] = [
    [[], /socket-path|shared-dir/],
    [[socket], /shared-dir/],
    [[share], /socket-path/],
    [[socket, share, '--no-such-option'], /no-such-option/],
    [[socket, share, '--window-size=3G'], /window-size/],
    [[socket, share, '--window-size=0'], /window-size/],
    [[socket, share, '--window-size=-1'], /window-size/],
    [[socket, share, '--window-size=1000'], /window-size/],
    [[socket, share, '--window-size=1X'], /window-size/],
    [[socket, share, '--window=sometimes'], /window/],
    [[socket, share, `--tag=${'x'.repeat(37)}`], /tag/],
    [[socket, share, '--tag='], /tag/],
    [[socket, share, 'stray-argument'], /stray-argument/],
  ]
  for (const [args, named] of cases) {
    const { status, stderr, stdout } = run(args)
    expect(status, args.join(' ')).toBe(2)
    expect(stderr, args.join(' ')).toMatch(named)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(stdout).toBe('')
  }
}, 60_000)

test('says what can not be set up with status 1', () => {
  const directory = scratch()
  const socket = `--socket-path=${join(directory, 'socket')}`
  const cases: [args: string[], named: RegExp][] = [
    [
      [socket, `--shared-dir=${join(directory, 'missing')}`],
      /missing.*(ENOENT|[Nn]o such)|(ENOENT|[Nn]o such).*missing/s,
    ],
    [[socket, `--shared-dir=${join(directory, 'file')}`], /ENOTDIR|[Nn]ot a directory/],
    [[`--socket-path=${directory}/none/socket`, `--shared-dir=${directory}/share`], /none\/socket/],
  ]
  for (const [args, named] of cases) {
    const { status, stderr, stdout } = run(args)
    expect(status, args.join(' ')).toBe(1)
    expect(stderr + stdout, args.join(' ')).toMatch(named)
    expect(stderr + stdout).not.toMatch(/^\s+at /m)
  }
})

test('prints its options', () => {
  const { status, stdout } = run(['--help'])
  expect(status).toBe(0)
  for (const option of ['--socket-path', '--shared-dir', '--tag', '--window', '--window-size', '--keep-listening']) {
    expect(stdout).toContain(option)
  }
})
