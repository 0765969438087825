// SPDX-License-Identifier: Apache-2.0
/** The options of doc/usage.md, doc/recipes.md and viewfsd(1), and what share/ tells libvirt, held against the program. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Daemon, makeScratch, removeScratch } from './harness/daemon.ts'
import { connectFrontend } from './harness/session.ts'

const TOP = resolve(import.meta.dirname, '../..')
const PROGRAM = join(TOP, 'dist/server/main.js')

function read(path: string): string {
  return readFileSync(join(TOP, path), 'utf8')
}

/** Command lines of viewfsd in a text, continued lines joined, as arguments. */
function commands(text: string): string[][] {
  return [...text.replaceAll('\\\n', ' ').matchAll(/^viewfsd (--[^\n]*)$/gm)].map((match) =>
    (match[1] ?? '').split(/\s+/).filter((word) => word !== '' && word !== '&'),
  )
}

const manual = read('doc/viewfsd.1').replaceAll('\\e\n', '\\\n').replaceAll('\\-', '-')
const found = [
  ...commands(read('doc/usage.md')),
  ...commands(read('doc/managers.md')),
  ...commands(read('doc/recipes.md')),
  ...commands(manual),
]
const daemons = found.filter((args) => !args.includes('--print-capabilities'))

test('the documents have commands to try', () => {
  expect(found.length - daemons.length).toBeGreaterThanOrEqual(1)
  expect(daemons.length).toBeGreaterThanOrEqual(3)
})

test.each(daemons.map((args) => [args.join(' '), args] as const))('viewfsd %s', async (_, args) => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  // The same options, in a directory of the test's; a window where this machine has the driver.
  const rest = args
    .filter((arg) => !arg.startsWith('--socket-path=') && !arg.startsWith('--shared-dir='))
    .map((arg) => (arg === '--window=memory-view' ? '--window=auto' : arg))
  expect(rest.length).toBe(args.length - 2)
  const daemon = new Daemon(directory, { tag: '', args: rest })
  onTestFinished(() => daemon.kill())
  const frontend = await connectFrontend(daemon)
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
})

test('the extra arguments for Kata are accepted', () => {
  const list = /virtio_fs_extra_args = (\[[^\]]*\])/.exec(read('doc/managers.md'))?.[1] ?? ''
  const extra: unknown = JSON.parse(list)
  if (!Array.isArray(extra) || extra.length === 0) throw new Error('no arguments')
  const args = ['--shared-dir=/does/not/exist', '--fd=1000', '--cache=auto', ...extra.map(String)]
  // They are parsed; then the directory is missing.
  expect(spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' }).status).toBe(1)
})

test('the description for libvirt has what the program says of itself', () => {
  const printed: unknown = JSON.parse(
    spawnSync(process.execPath, [PROGRAM, '--print-capabilities'], { encoding: 'utf8' }).stdout,
  )
  const description: unknown = JSON.parse(read('share/50-viewfsd.json'))
  expect(description).toMatchObject({ type: 'fs', binary: '/usr/libexec/viewfsd' })
  expect(description).toMatchObject({ ...(typeof printed === 'object' ? printed : {}) })
  expect(read('share/domain.xml')).toContain("<binary path='/usr/libexec/viewfsd'")
})

test('the example domain names the device and the socket that the page names', () => {
  const device = 'vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=1024,config_size=40'
  // libvirt gives its own devices the addresses from 1 on, and the one that it does not know would get the first of them.
  expect(read('share/domain.xml')).toContain(`${device},chardev=viewfsd0,addr=0x10`)
  expect(read('doc/usage.md')).toContain(device)
  expect(read('README.md')).toContain(device)
})

test('libvirt’s <binary xattr="on">, its locks and its cache modes are options', () => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  mkdirSync(join(directory, 'share'))
  // As libvirt starts it: a descriptor and -o options.
  const args = ['--fd=1000', '-o', `source=${directory}/share,cache=always,sandbox=namespace,xattr,flock,posix_lock`]
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' })
  expect(stderr).toMatch(/--fd=1000: not a socket that listens/)
  expect(status).toBe(1)
})
