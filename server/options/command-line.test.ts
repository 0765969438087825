// SPDX-License-Identifier: Apache-2.0
import { assert, nat, property } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Options, parseCommandLine, UsageError } from '../options.ts'
import { helpText } from './help.ts'
import { OPTION_TABLE } from './table.ts'
import { daxPolicy, windowSize } from './values.ts'

const REQUIRED = ['--socket-path=/run/s', '--shared-dir=/srv']

function parse(...args: string[]): Options {
  const commandLine = parseCommandLine([...REQUIRED, ...args])
  if (commandLine.action !== 'run') throw new Error(commandLine.action)
  return commandLine.options
}

function failure(...args: string[]): UsageError {
  try {
    parseCommandLine(args)
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error(`accepted: ${args.join(' ')}`)
}

test('the control socket is beside the socket, elsewhere, or not there', () => {
  expect(parse('--control=/c').control).toEqual({ path: '/c', required: true })
  expect(parse('--control=none').control).toBeUndefined()
})

test('has defaults for everything but socket and directory', () => {
  expect(parse()).toEqual({
    socketPath: '/run/s',
    control: { path: '/run/s.ctl', required: false },
    socketGroup: undefined,
    listenFd: undefined,
    sharedDir: '/srv',
    tag: undefined,
    requestQueues: 8,
    threadPoolSize: 64,
    window: 'auto',
    windowSizeBytes: 2 ** 30,
    faultPolicy: 'sink',
    daxPolicy: { enabled: false, minSizeBytes: 0, minAgeSeconds: 0 },
    daxReserve: false,
    keepListening: false,
    configureMemSlots: 'auto',
    readonly: false,
    cache: 'auto',
    writeback: false,
    allowDirectIo: false,
    allowMmap: false,
    readdirplus: true,
    xattr: false,
    posixAcl: 'never',
    xattrMap: undefined,
    securityLabel: 'never',
    killprivV2: false,
    announceSubmounts: true,
    preserveNoatime: false,
    posixLocks: false,
    flocks: false,
    inodeFileHandles: 'prefer',
    translateUid: [],
    translateGid: [],
    migrationMode: 'find-paths',
    migrationOnError: 'abort',
    migrationVerifyHandles: false,
    onCrash: 'exit',
    sandbox: 'namespace',
    seccomp: 'kill',
    modcaps: [],
    uidMap: [],
    gidMap: [],
    descriptorLimit: undefined,
    logLevel: 'info',
    syslog: false,
    warnings: [],
  })
})

test('takes values with and without =, and the last of several', () => {
  expect(parse('--tag', 'x', '--window=none', '--readonly')).toMatchObject({ tag: 'x', window: 'none', readonly: true })
  expect(parse('--cache=always', '--cache', 'never')).toMatchObject({ cache: 'never' })
  expect(parse('--socket-path=/other', '--shared-dir=/else')).toMatchObject({
    socketPath: '/other',
    sharedDir: '/else',
  })
  expect(parse('--killpriv-v2', '--no-killpriv-v2')).toMatchObject({ killprivV2: false })
  expect(parse('--no-killpriv-v2', '--killpriv-v2')).toMatchObject({ killprivV2: true })
  expect(parse('--no-announce-submounts', '--announce-submounts')).toMatchObject({ announceSubmounts: true })
  expect(parse('--announce-submounts', '--no-announce-submounts', '--')).toMatchObject({ announceSubmounts: false })
})

test('posix-acl, security-label and xattrmap imply xattr', () => {
  expect(parse('--security-label')).toMatchObject({ xattr: true, securityLabel: 'always' })
  expect(parse('--xattrmap=:map::user.v.:')).toMatchObject({ xattr: true, xattrMap: ':map::user.v.:' })
  expect(parse('-oxattrmap=:map::user.v.:')).toMatchObject({ xattr: true, xattrMap: ':map::user.v.:' })
  expect(parse('--posix-acl')).toMatchObject({ xattr: true, posixAcl: 'always' })
  expect(parse('--posix-acl', '--posix-acl=auto')).toMatchObject({ xattr: true, posixAcl: 'auto' })
  expect(parse('--posix-acl', '--posix-acl=never')).toMatchObject({ xattr: false, posixAcl: 'never' })
  expect(parse('--security-label=auto', '-oposix_acl,no_security_label')).toMatchObject({
    xattr: true,
    posixAcl: 'always',
    securityLabel: 'never',
  })
  expect(parse('-o', 'no_xattr', '--posix-acl')).toMatchObject({ xattr: true })
})

test('-o wins over long options, -d over both', () => {
  expect(parse('-o', 'cache=none,loglevel=err,source=/legacy', '--cache=always', '--log-level=trace')).toMatchObject({
    cache: 'never',
    logLevel: 'error',
    sharedDir: '/legacy',
  })
  expect(parse('-ologlevel=warn', '-d').logLevel).toBe('debug')
  expect(parse('-o=no_readdirplus,writeback', '-oallow_direct_io,killpriv_v2,no_writeback')).toMatchObject({
    readdirplus: false,
    writeback: false,
    allowDirectIo: true,
    killprivV2: true,
  })
  expect(parse('-o', 'announce_submounts', '--no-announce-submounts').announceSubmounts).toBe(false)
  expect(parse('-oposix_lock,no_flock', '--flocks')).toMatchObject({ posixLocks: true, flocks: false })
  expect(parse('-oflock,no_posix_lock', '--posix-locks')).toMatchObject({ posixLocks: false, flocks: true })
  expect(parse('-oxattr', '--posix-locks', '--flocks')).toMatchObject({ posixLocks: true, flocks: true })
})

test('warns of what is deprecated', () => {
  expect(parse('-df', '-o', 'xattr', '--inode-file-handles=never').warnings).toHaveLength(2)
  const old = parseCommandLine(['--socket=/s', '--shared-dir=/'])
  expect(old).toMatchObject({ action: 'run', options: { socketPath: '/s', warnings: [/--socket-path/] } })
})

describe('--window-size', () => {
  test.each([
    ['2M', 2 ** 21],
    ['1G', 2 ** 30],
    ['1g', 2 ** 30],
    ['8GiB', 2 ** 33],
    ['64T', 2 ** 46],
    ['4194304', 2 ** 22],
    ['2048K', 2 ** 21],
  ])('%s', (text, bytes) => {
    expect(windowSize(text)).toBe(bytes)
  })

  test.each(['', '0', '3G', '1M', '-1G', '1.5G', '128T', '1X', 'G', '0x40000000', '99999999999999999999'])(
    'refuses "%s" and says what is allowed',
    (text) => {
      expect(() => windowSize(text)).toThrow(/power of two/)
    },
  )

  test('accepts nothing but powers of two', () => {
    assert(
      property(nat(), (bytes) => {
        const isPower = bytes >= 2 ** 21 && Number.isInteger(Math.log2(bytes))
        if (isPower) expect(windowSize(String(bytes))).toBe(bytes)
        else expect(() => windowSize(String(bytes))).toThrow(/power of two/)
      }),
    )
  })
})

describe('--dax-policy', () => {
  test.each([
    ['always', true, 0, 0],
    ['never', false, 0, 0],
    ['64K', true, 65536, 0],
    ['0', true, 0, 0],
    ['1M,10', true, 2 ** 20, 10],
    ['1M,2h', true, 2 ** 20, 7200],
  ])('%s', (text, enabled, minSizeBytes, minAgeSeconds) => {
    expect(daxPolicy(text)).toEqual({ enabled, minSizeBytes, minAgeSeconds })
  })

  test.each(['', 'sometimes', '64K,', ',10', '64K,10,3', '64K,-1', '1K,1w', '1X'])('refuses "%s"', (text) => {
    expect(() => daxPolicy(text)).toThrow(/must be always, never, or SIZE/)
  })
})

test.each([
  [['--shared-dir=/srv'], /--socket-path or --fd is required/],
  [['--socket-path=/s'], /--shared-dir is required/],
  [[...REQUIRED, '--nonsense'], /nonsense/],
  [[...REQUIRED, '--nonsense\nmore'], /nonsense\?more/],
  [[...REQUIRED, '--print-capab'], /did you mean --print-capabilities/],
  [[...REQUIRED, 'stray'], /stray/],
  [[...REQUIRED, '--', 'stray'], /stray/],
  [[...REQUIRED, '-x'], /-x/],
  [[...REQUIRED, '--xattr=1'], /--xattr takes no value/],
  [[...REQUIRED, '--tag'], /--tag needs a value/],
  [[...REQUIRED, '--tag', '--xattr'], /--tag needs a value/],
  [[...REQUIRED, '--inode-file-handles', 'never'], /--inode-file-handles needs its value after an equals sign/],
  [[...REQUIRED, '--window=maybe'], /"maybe" for --window: must be one of auto, memory-view, shmem, none/],
  [[...REQUIRED, `--tag=${'ä'.repeat(19)}`], /--tag: must have 1 to 36 bytes/],
  [[...REQUIRED, '--num-request-queues=0'], /for --num-request-queues/],
  [[...REQUIRED, '--thread-pool-size=x'], /for --thread-pool-size/],
  [[...REQUIRED, '--fd=3'], /--socket-path can't be used with --fd/],
  [['--socket=/s', '--shared-dir=/', '--fd=3'], /--socket can't be used with --fd/],
  [[...REQUIRED, '--posix-acl', '--translate-uid=map:0:1:2'], /--posix-acl can't be used with --translate-uid/],
  [[...REQUIRED, '--posix-acl=auto', '--translate-gid=map:0:1:2'], /--posix-acl can't be used with --translate-gid/],
  [[...REQUIRED, '-o', 'posix_acl', '--translate-gid=map:0:1:2'], /--posix-acl can't be used with --translate-gid/],
  [[...REQUIRED, '--posix-acl=yes'], /"yes" for --posix-acl: must be one of never, auto, always/],
  [[...REQUIRED, '--security-label='], /for --security-label/],
  [[...REQUIRED, '--posix-acl', 'auto'], /unexpected argument "auto"/],
  [[...REQUIRED, '-o', 'cache=never'], /-o cache: must be none/],
  [[...REQUIRED, '-o', 'toString'], /unknown option "-o toString"/],
  [[...REQUIRED, '-o', 'xattr,,writeback'], /unknown option "-o xattr,writeback"/],
  [[...REQUIRED, '-o', 'xattr,'], /unknown option "-o "/],
  [[...REQUIRED, '--xattrmap=foo'], /for --xattrmap: rule 1/],
  [[...REQUIRED, '-o', 'xattrmap='], /for -o xattrmap: there is no rule/],
])('%j is wrong usage, in one line', (args, message) => {
  const error = failure(...args)
  expect(error.message).toMatch(message)
  expect(error.message).not.toContain('\n')
  expect(error.exitCode).toBe(2)
})

/** What none of the options with a check takes. */
const BOGUS = '\n%bogus'
const CHECKED = OPTION_TABLE.filter(({ check }) => check !== undefined)

test.each(CHECKED.map((row) => [row.name, row] as const))(
  '--%s names itself, the value, the reason and the way out',
  (name, row) => {
    const value = name === 'tag' ? BOGUS.repeat(6) : BOGUS
    const { message } = failure('--shared-dir=/srv', `--${name}=${value}`)
    const [, shown, reason] = new RegExp(`^invalid value "(.*)" for --${name}: (.*)$`).exec(message) ?? []
    expect(shown).toBe(value.replaceAll('\n', '?'))
    // What would be right, or an example of it.
    expect(reason).toMatch(/must (be|have|begin with) |such as /)
    const choices = row.check !== undefined && 'choices' in row.check ? row.check.choices : []
    for (const choice of Array.isArray(choices) ? choices : []) expect(reason).toContain(String(choice))
  },
)

test.each(
  OPTION_TABLE.filter(({ value }) => value === undefined)
    .map(({ name }) => name)
    .filter((name) => name.length > 1),
)('--%s takes no value, and says so with what was given', (name) => {
  expect(failure(...REQUIRED, `--${name}=${BOGUS}`).message).toBe(`--${name}=?%bogus: --${name} takes no value`)
})

test.each(['cache', 'loglevel', 'sandbox', 'xattrmap'])(
  '-o %s names itself, the value, the reason and the way out',
  (name) => {
    const { message } = failure(...REQUIRED, '-o', `${name}=${BOGUS}`)
    expect(message).toMatch(new RegExp(`^invalid value "\\?%bogus" for -o ${name}: .*(must be|such as) `))
  },
)

test.each([
  ['--modcaps=', /for --modcaps: must be \+NAME or -NAME/],
  ['--modcaps=+chown:-nonsense', /there is no capability "nonsense"/],
  ['--translate-uid=map:1:0:4294967295', /--translate-uid: .*ends above the last id/],
])('%s is well formed, but makes no sense', (argument, message) => {
  const error = failure(...REQUIRED, argument)
  expect(error.message).toMatch(message)
  expect(error.exitCode).toBe(1)
})

test('the first of -h, -V and a mistake decides', () => {
  expect(parseCommandLine([])).toEqual({ action: 'no-arguments' })
  expect(parseCommandLine(['-h', '--bogus'])).toEqual({ action: 'short-help' })
  expect(parseCommandLine(['--help'])).toEqual({ action: 'help' })
  expect(parseCommandLine(['-V', '-h'])).toEqual({ action: 'version' })
  expect(parseCommandLine(['-dfV'])).toEqual({ action: 'version' })
  expect(failure('--bogus', '-h').message).toMatch(/bogus/)
  expect(parseCommandLine(['--print-capabilities'])).toEqual({ action: 'print-capabilities' })
  expect(failure('--print-capabilities', '--socket-path=s', '--fd=3').message).toMatch(/can't be used/)
})

test('the help names every option once, and the short one is shorter', () => {
  for (const text of [helpText(true), helpText(false)]) {
    for (const row of OPTION_TABLE) {
      const name = row.name === row.letter ? `-${row.name}` : `--${row.name}`
      const lines = text.split('\n').filter((line) => new RegExp(`^  (-\\w, |    )?${name}(\\[?=| |$)`).test(line))
      expect(lines, name).toHaveLength(1)
    }
  }
  expect(helpText(false).length).toBeLessThan(helpText(true).length)
})
