// SPDX-License-Identifier: Apache-2.0
/**
 * What libvirt's QEMU driver passes to a virtio-fs daemon, from 9.0 to 11: -o lists, and long options for a program that has
 * `separate-options` among its capabilities. Each element of a domain's `<filesystem>`, and what it must do.
 */
import { expect, test } from 'vitest'
import { capabilitiesText } from '../program-info.ts'
import { type Options, parseCommandLine } from '../options.ts'

function parse(args: readonly string[]): Options {
  const commandLine = parseCommandLine(args)
  if (commandLine.action !== 'run') throw new Error(commandLine.action)
  return commandLine.options
}

const LONG = ['--fd=27', '--shared-dir', '/srv/data']

test.each<[element: string, args: readonly string[], meaning: Partial<Options>]>([
  ['<source dir>', ['-o', 'source=/srv/data'], { sharedDir: '/srv/data', listenFd: 27, socketPath: undefined }],
  ['<source dir> with commas', ['-o', 'source=/srv/a,,b,,,xattr'], { sharedDir: '/srv/a,b,', xattr: true }],
  ['<cache mode="none">', ['-o', 'source=/s,cache=none'], { cache: 'never' }],
  ['<cache mode="always">', ['-o', 'source=/s,cache=always'], { cache: 'always' }],
  ['<sandbox mode="namespace">', ['-o', 'source=/s,sandbox=namespace'], { sandbox: 'namespace' }],
  ['<sandbox mode="chroot">', ['-o', 'source=/s,sandbox=chroot'], { sandbox: 'chroot' }],
  ['<binary xattr="on">', ['-o', 'source=/s,xattr'], { xattr: true }],
  ['<binary xattr="off">', ['-o', 'source=/s,no_xattr'], { xattr: false }],
  ['<lock flock="on">', ['-o', 'source=/s,flock'], { flocks: true, posixLocks: false }],
  ['<lock flock="off">', ['-o', 'source=/s,no_flock'], { flocks: false, posixLocks: false }],
  ['<lock posix="on">', ['-o', 'source=/s,posix_lock'], { flocks: false, posixLocks: true }],
  ['<lock posix="off">', ['-o', 'source=/s,no_posix_lock'], { flocks: false, posixLocks: false }],
  ['<lock> with both on', ['-o', 'source=/s,flock,posix_lock'], { flocks: true, posixLocks: true }],
  ['<lock> with both off', ['-o', 'source=/s,no_flock,no_posix_lock'], { flocks: false, posixLocks: false }],
  [
    'all of <binary>',
    ['-o', 'source=/s,cache=always,sandbox=namespace,xattr,flock,posix_lock', '--thread-pool-size=16'],
    { cache: 'always', sandbox: 'namespace', xattr: true, flocks: true, posixLocks: true, threadPoolSize: 16 },
  ],
  ['<thread_pool size="0">', ['-o', 'source=/s', '--thread-pool-size=0'], { threadPoolSize: 0 }],
  ['<openfiles max="122333">', ['-o', 'source=/s', '--rlimit-nofile=122333'], { descriptorLimit: 122_333 }],
  ['virtiofsd_debug in qemu.conf', ['-o', 'source=/s', '-d'], { logLevel: 'debug' }],
  [
    // What the session driver makes of /etc/subuid, too, where the domain says nothing.
    '<idmap>',
    ['-o', 'source=/s', '--uid-map=:0:1000:1:', '--uid-map=:1:100000:65536:', '--gid-map=:0:100:1:'],
    {
      uidMap: [
        { inside: 0, outside: 1000, count: 1 },
        { inside: 1, outside: 100_000, count: 65_536 },
      ],
      gidMap: [{ inside: 0, outside: 100, count: 1 }],
    },
  ],
  ['<readonly>', ['-o', 'source=/s', '--readonly'], { readonly: true }],
  ['<source dir>, long', LONG, { sharedDir: '/srv/data', listenFd: 27 }],
  ['<source dir> with a comma, long', ['--shared-dir', '/srv/a,b'], { sharedDir: '/srv/a,b' }],
  ['<cache mode="none">, long', [...LONG, '--cache', 'never'], { cache: 'never' }],
  ['<cache mode="always">, long', [...LONG, '--cache', 'always'], { cache: 'always' }],
  ['<sandbox mode="namespace">, long', [...LONG, '--sandbox', 'namespace'], { sandbox: 'namespace' }],
  ['<sandbox mode="chroot">, long', [...LONG, '--sandbox', 'chroot'], { sandbox: 'chroot' }],
  ['<binary xattr="on">, long', [...LONG, '--xattr'], { xattr: true }],
  ['<readonly>, long', [...LONG, '--readonly'], { readonly: true }],
  ['virtiofsd_debug, long', [...LONG, '--log-level', 'debug'], { logLevel: 'debug' }],
])('%s', (_, args, meaning) => {
  const options = parse(['--fd=27', ...args])
  expect(options).toMatchObject(meaning)
  expect(options.warnings).toEqual(args.includes('-d') ? [expect.stringMatching(/^-d is deprecated/)] : [])
})

test('the capabilities let libvirt pass a lock element', () => {
  // Newer ones refuse it for a program that has separate-options.
  expect(JSON.parse(capabilitiesText())).toEqual({
    type: 'fs',
    features: expect.not.arrayContaining(['separate-options']),
  })
  expect(parseCommandLine(['--print-capabilities'])).toEqual({ action: 'print-capabilities' })
})
