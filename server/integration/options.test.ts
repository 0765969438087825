// SPDX-License-Identifier: Apache-2.0
/** The command line: what is refused, how, and with which exit status. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
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
  const share = `--shared-dir=${join(directory, 'share')}`
  const long = 'x'.repeat(120)
  // The last argument is what is wrong: it is named with its value, the reason, and the way out.
  const cases: [args: string[], reason: string, wayOut: string][] = [
    [[socket, `--shared-dir=${join(directory, 'missing')}`], 'there is no such directory', 'make it'],
    [[socket, `--shared-dir=${join(directory, 'file')}`], 'not a directory', 'share the directory that it is in'],
    [[socket, '--shared-dir='], 'there is no such directory', 'name another'],
    [[share, `--socket-path=${directory}/none/socket`], 'ENOENT', 'make its directory first'],
    [[share, `--socket-path=${directory}/${long}`], 'ENAMETOOLONG', '107 bytes at most'],
    [[share, `--socket-path=${directory}/file`], 'EADDRINUSE', 'name another'],
    [[share, '--fd=77'], 'not a socket that listens', 'must open it'],
    [[share, socket, '--socket-group=no-such-group'], 'there is no such group', 'getent group'],
    [[share, socket, `--control=${directory}/none/control`], 'ENOENT', 'make its directory first'],
    [[share, socket, `--metrics=${directory}/none/metrics`], 'ENOENT', 'make its directory first'],
    [[share, socket, '--metrics=192.0.2.1:9551'], 'EADDRNOTAVAIL', 'ip address'],
    [[share, socket, '--rlimit-nofile=5'], 'must be at least', '600'],
    [[share, socket, '--rlimit-nofile=99999999999'], 'the system allows no more', 'fs/nr_open'],
    [[share, socket, '--sandbox=none', '--uid-map=:0:0:1:'], 'only with --sandbox=namespace', 'leave it out'],
    [
      [socket, '--shared-dir=/proc', '--inode-file-handles=mandatory'],
      'no file handles',
      'use --inode-file-handles=prefer',
    ],
  ]
  if (!existsSync('/dev/memory-view')) cases.push([[share, socket, '--window=memory-view'], 'is missing', 'modprobe'])
  for (const [args, reason, wayOut] of cases) {
    const { status, stderr } = run(args)
    expect(status, args.join(' ')).toBe(1)
    const said = /^viewfsd: (.*)$/m.exec(stderr)?.[1] ?? /"msg":"(--[^"]*)"\}$/m.exec(stderr)?.[1] ?? stderr
    expect(said.slice(0, args.at(-1)?.length)).toBe(args.at(-1))
    expect(said).toContain(reason)
    expect(said).toContain(wayOut)
    expect(stderr).not.toMatch(/^\s+at /m)
  }
}, 60_000)

test('prints its options', () => {
  const { status, stdout } = run(['--help'])
  expect(status).toBe(0)
  for (const option of ['--socket-path', '--shared-dir', '--tag', '--window', '--window-size', '--keep-listening']) {
    expect(stdout).toContain(option)
  }
})
