// SPDX-License-Identifier: Apache-2.0
/**
 * Debian's virtiofsd and viewfsd with the same arguments: the same exit status, the same socket, the same PID file. Where
 * they are meant to differ, both ends are written down.
 */
import { describe, expect, test } from 'vitest'
import { runBoth } from './harness/reference.ts'

/** Both in the sandbox, as by default. */
const PLAIN = ['--rlimit-nofile=0']
const SHARE = '--shared-dir=share'
const SOCKET = '--socket-path=socket'
const BASE = [SHARE, SOCKET, ...PLAIN]

/** What can't be parsed. */
const WRONG: readonly (readonly string[])[] = [
  [],
  [SHARE],
  [SOCKET],
  [...PLAIN],
  [...BASE, '--bogus'],
  [...BASE, '--bogus=1'],
  [...BASE, 'stray'],
  [...BASE, '--', 'stray'],
  [...BASE, '-'],
  [...BASE, '-x'],
  [...BASE, '-dx'],
  [...BASE, '-d=1'],
  [...BASE, '-o'],
  [...BASE, '--tag'],
  [...BASE, '--shared-dir', '--xattr'],
  [...BASE, '--shared-dir', '--'],
  [...BASE, '--print-capab'],
  [...BASE, '--fd=3'],
  [...BASE, '--xattr=1'],
  [...BASE, '--help=1'],
  [...BASE, '--version=1'],
  [...BASE, '--print-capabilities=1'],
  [...BASE, '--cache=none'],
  [...BASE, '--cache=foo'],
  [...BASE, '--cache='],
  [...BASE, '--sandbox=foo'],
  [...BASE, '--seccomp=foo'],
  [...BASE, '--seccomp=NONE'],
  [...BASE, '--inode-file-handles', 'never'],
  [...BASE, '--inode-file-handles'],
  [...BASE, '--inode-file-handles=foo'],
  [...BASE, '--inode-file-handles=PREFER'],
  [...BASE, '--thread-pool-size=x'],
  [...BASE, '--thread-pool-size=-1'],
  [...BASE, '--log-level=foo'],
  [...BASE, '--log-level='],
  [...BASE, '--rlimit-nofile=x'],
  [...BASE, '--rlimit-nofile=-1'],
  [...BASE, '--rlimit-nofile=0x10'],
  [...BASE, '--uid-map=foo'],
  [...BASE, '--uid-map='],
  [...BASE, '--uid-map=::'],
  [...BASE, '--uid-map=:0:0:1'],
  [...BASE, '--gid-map=:0:x:1:'],
  [...BASE, '--gid-map=:0:0:4294967296:'],
  [...BASE, '--translate-uid=foo'],
  [...BASE, '--translate-uid=map:0:1'],
  [...BASE, '--translate-uid=map:0:1:1:2'],
  [...BASE, '--translate-gid=forbid-guest:0:1:5'],
  [...BASE, '--translate-gid=host:0:1:-1'],
  [...BASE, '--posix-acl', '--translate-uid=map:0:0:1'],
  [...BASE, '--posix-acl', '--translate-gid=map:0:0:1'],
  [...BASE, '--migration-mode=foo'],
  [...BASE, '--migration-on-error=foo'],
  [...BASE, '--tag='],
  [...BASE, `--tag=${'x'.repeat(37)}`],
  [...BASE, '--xattrmap=foo'],
  [...BASE, '--xattrmap='],
  [...BASE, '--xattrmap=:map::x.: :map::y.:'],
  [SHARE, '--fd=x'],
  [SHARE, '--socket=socket', '--fd=3'],
  [SHARE, '--socket=socket', '--socket-path=socket', '--fd=3'],
  ['--bogus', '-h'],
  ['--cache=foo', '-h'],
  ['--print-capabilities', '--bogus'],
  ['--print-capabilities', '--fd=3', '--socket-path=x'],
  ['--print-capabilities', '--posix-acl', '--translate-gid=map:0:0:1'],
  ...[
    'bogus',
    'cache=bogus',
    'cache=never',
    'cache',
    'loglevel=error',
    'loglevel=',
    'sandbox=none',
    'sandbox=x',
    'timeout=1',
    'xattrmap=foo',
    '',
    ',',
    'xattr,,writeback',
    'xattr=1',
    'xattr ',
    'rlimit_nofile=3',
    'no_announce_submounts',
  ].map((list) => [...BASE, '-o', list]),
]

/** What can't be carried out. */
const IMPOSSIBLE: readonly (readonly string[])[] = [
  [SOCKET, '--shared-dir=missing', ...PLAIN],
  [SOCKET, '--shared-dir=', ...PLAIN],
  [SOCKET, '--shared-dir=file', ...PLAIN],
  [SHARE, '--socket-path=', ...PLAIN],
  [SHARE, '--socket-path=missing/socket', ...PLAIN],
  [SHARE, '--socket-path=share', ...PLAIN],
  [SHARE, '--fd=0', ...PLAIN],
  [SHARE, '--fd=1000', ...PLAIN],
  [...BASE, '--socket-group=no-such-group'],
  [...BASE, '--socket-group='],
  [...BASE, '--rlimit-nofile=99999999999'],
  [...BASE, '--rlimit-nofile=3'],
  [...BASE, '--rlimit-nofile=+10'],
  [...BASE, '--modcaps='],
  [...BASE, '--modcaps=foo'],
  [...BASE, '--modcaps=+foo'],
  [...BASE, '--modcaps=-chown:'],
  [...BASE, '--translate-uid=guest:1:1:4294967295'],
  [...BASE, '--translate-uid=map:0:5:10', '--translate-uid=map:5:100:10'],
  [...BASE, '-o', 'source=missing'],
  [...BASE, '-o', 'source=missing', '--shared-dir=share'],
  [...BASE, '-o', 'source='],
]

/** What serves. */
const GOOD: readonly (readonly string[])[] = [
  [...BASE],
  ['--shared-dir', 'share', '--socket-path', 'socket', ...PLAIN],
  [...BASE, '--'],
  ['--socket=socket', '-o', 'source=share', ...PLAIN],
  ['--shared-dir=missing', '--socket-path=other', ...BASE],
  ['--shared-dir=missing', '-osource=share', SOCKET, ...PLAIN],
  [...BASE, '--cache=AUTO', '--cache=Never'],
  [...BASE, '--log-level=OFF', '--thread-pool-size=64'],
  [...BASE, '-d', '-f'],
  [...BASE, '-df'],
  [...BASE, '--socket-group=games'],
  [...BASE, '--socket-group=no-such-group', '--socket-group=games'],
  [SHARE, SOCKET, '--rlimit-nofile=700'],
  [SHARE, SOCKET, '--rlimit-nofile=+1000', '--rlimit-nofile=900'],
  // As many as the machine lets both have.
  [SHARE, SOCKET],
  [...BASE, '--announce-submounts', '--no-announce-submounts', '--announce-submounts'],
  [...BASE, '--killpriv-v2', '--no-killpriv-v2', '--xattr', '--xattr', '--posix-acl'],
  [...BASE, '--readonly', '--writeback', '--allow-mmap', '--allow-direct-io', '--no-readdirplus', '--preserve-noatime'],
  [...BASE, '--inode-file-handles=never', '--syslog', `--tag=${'é'.repeat(18)}`],
  [...BASE, '--inode-file-handles=fallback'],
  [...BASE, '--inode-file-handles=mandatory'],
  [...BASE, '--xattrmap=:map::user.virtiofs.:', '--security-label'],
  [...BASE, '--xattrmap=:prefix:all::x: :ok:all:::', '-o', 'xattrmap=:map::user.virtiofs.:,security_label'],
  [...BASE, '--translate-uid=map:0:1:1', '--translate-uid=squash-guest:100:1:5', '--translate-gid=map:0:0:0'],
  [...BASE, '--translate-uid=guest:0:1:4294967295', '--translate-gid=forbid-guest:0:5'],
  [...BASE, '--migration-mode=find-paths', '--migration-on-error=abort'],
  [...BASE, '--migration-mode=file-handles', '--migration-on-error=guest-error'],
  [...BASE, '--migration-verify-handles', '--migration-confirm-paths'],
  [...BASE, '-oxattr,no_posix_lock,no_flock', '-o=cache=none,loglevel=err', '-o', 'announce_submounts'],
  [...BASE, '-o', 'no_xattr,readdirplus,no_readdirplus,writeback,no_writeback,allow_direct_io,no_allow_direct_io'],
  [...BASE, '-o', 'killpriv_v2,no_killpriv_v2,posix_acl,no_posix_acl,no_security_label,cache=metadata,loglevel=debug'],
]

const shown = (args: readonly string[]): string => (args.length === 0 ? '(nothing)' : args.join(' '))
const named = (list: readonly (readonly string[])[]): [string, readonly string[]][] =>
  list.map((args) => [shown(args.filter((argument) => !BASE.includes(argument))), args])

/** The options that a help text describes, with their dashes. */
function optionsIn(help: string): string[] {
  return [...help.matchAll(/^ +(?:-(\w), )?(--[\w-]+|-\w\b)/gm)].flatMap((match) => [
    match[2] ?? '',
    ...(match[1] === undefined ? [] : [`-${match[1]}`]),
  ])
}

describe('is wrong usage', () => {
  test.each(named(WRONG))('%s', async (_, args) => {
    const { virtiofsd, viewfsd } = await runBoth(args)
    expect(virtiofsd.ending, virtiofsd.stderr).toEqual({ status: 2 })
    expect(viewfsd.ending, viewfsd.stderr).toEqual({ status: 2 })
    expect(viewfsd.stdout).toBe('')
    if (args.length > 0) expect(viewfsd.stderr).toMatch(/^viewfsd: [^\n]+\n$/)
  })
})

describe('can not be carried out', () => {
  test.each(named(IMPOSSIBLE))('%s', async (_, args) => {
    const { virtiofsd, viewfsd } = await runBoth(args)
    expect(virtiofsd.ending, virtiofsd.stderr).toEqual({ status: 1 })
    expect(viewfsd.ending, viewfsd.stderr).toEqual({ status: 1 })
  })
})

describe('serves', () => {
  test.each(named(GOOD))('%s', async (_, args) => {
    const { virtiofsd, viewfsd } = await runBoth(args)
    expect(virtiofsd.ending, virtiofsd.stderr).toMatchObject({ status: 0, served: { pidFile: true } })
    // In its sandbox virtiofsd can't reach its socket any more.
    const { left, ...served } = virtiofsd.ending.served ?? {}
    expect(left).toContain('socket')
    expect(viewfsd.ending, viewfsd.stderr).toEqual({ status: 0, served: { ...served, left: ['socket.pid'] } })
  })
})

describe('prints and ends', () => {
  test.each([
    ['--help'],
    ['-h'],
    ['-h', '--bogus'],
    ['-V', '-h'],
    ['-dfh'],
    ['-Vx'],
    ['--version'],
    ['--print-capabilities'],
    ['--print-capabilities', '--fd=3'],
  ])('%s %s', async (...args) => {
    const { virtiofsd, viewfsd } = await runBoth(args.filter((argument) => argument !== undefined))
    expect(virtiofsd.ending).toEqual({ status: 0 })
    expect(viewfsd.ending, viewfsd.stderr).toEqual({ status: 0 })
    expect(viewfsd.stderr).toBe('')
    expect(viewfsd.stdout).not.toBe('')
  })

  test('the capabilities, but for the form of options', async () => {
    const { virtiofsd, viewfsd } = await runBoth(['--print-capabilities'])
    expect(JSON.parse(virtiofsd.stdout)).toEqual({ type: 'fs', features: ['migrate-precopy', 'separate-options'] })
    const features = ['migrate-precopy', 'posix-acl-negotiation-mode', 'security-label-negotiation-mode']
    expect(JSON.parse(viewfsd.stdout)).toEqual({ type: 'fs', features })
  })

  test('the version, ours with the commit and that of the driver’s ABI', async () => {
    const { virtiofsd, viewfsd } = await runBoth(['--version'])
    expect(virtiofsd.stdout).toMatch(/^virtiofsd 1\.\d+\.\d+\n$/)
    expect(viewfsd.stdout).toMatch(
      /^viewfsd \d+\.\d+\.\d+ \(commit (?:[0-9a-f]{12}(?:-dirty)?|unknown)\)\nmemory-view ABI: \d+; driver: .+\n$/,
    )
  })

  test('every option of virtiofsd in the help', async () => {
    const { virtiofsd, viewfsd } = await runBoth(['--help'])
    const theirs = optionsIn(virtiofsd.stdout)
    expect(theirs.length).toBeGreaterThan(40)
    expect(optionsIn(viewfsd.stdout)).toEqual(expect.arrayContaining(theirs))
  })
})

describe('is meant to differ:', () => {
  test.each([{ args: ['--shared-dir=file', '--sandbox=none'], status: 1 }])('$args', async ({ args, status }) => {
    const { virtiofsd, viewfsd } = await runBoth([...BASE, ...args])
    expect(virtiofsd.ending, virtiofsd.stderr).toMatchObject({ status: 0, served: {} })
    expect(viewfsd.ending).toEqual({ status })
    expect(viewfsd.stderr).toMatch(/ENOTDIR/)
  })
})
