// SPDX-License-Identifier: Apache-2.0
/** make -C share install, as distributions without packages of ours use it: by doc/install.md, with another prefix, below DESTDIR. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commandBlock } from '../docs/blocks.ts'
import { output } from '../rig/command.ts'
import { checkout } from '../rig/paths.ts'
import { source } from './source.ts'

const PREFIX = '/opt/view'
let destination: string
const program = (name: string): string => join(destination, PREFIX, name)
const read = (path: string): string => readFileSync(join(destination, path), 'utf8')

beforeAll(() => {
  destination = mkdtempSync(join(tmpdir(), 'viewfsd-install-'))
  // The last one counts of settings that are there twice.
  const settings = `DESTDIR=${destination} prefix=${PREFIX} NODE=${process.execPath}`
  for (const line of commandBlock('doc/install.md', 'elsewhere'))
    output(['sh', '-ec', `cd '${checkout}'; ${line} -s ${settings}`])
})

afterAll(() => rmSync(destination, { recursive: true }))

test('the programs run where they are, with nothing of the checkout', () => {
  const { version } = source()
  for (const name of ['bin/viewfsd', 'libexec/viewfsd'])
    expect(output([program(name), '--version'])).toContain(`viewfsd ${version} (`)
  expect(output([program('bin/viewfsdctl'), '--help'])).toContain('Usage: viewfsdctl')
  const files = output(['find', program('lib/viewfsd'), '-type', 'f']).split('\n')
  for (const name of files.filter((file) => file.endsWith('js')))
    expect(readFileSync(name, 'utf8')).not.toContain(checkout)
})

test('what names the program names this one', () => {
  expect(JSON.parse(read(`${PREFIX}/share/qemu/vhost-user/50-viewfsd.json`))).toMatchObject({
    binary: `${PREFIX}/libexec/viewfsd`,
  })
  expect(read(`${PREFIX}/lib/systemd/system/viewfsd@.service`)).toContain(`ExecStart=${PREFIX}/libexec/viewfsd `)
  const profile = read('/etc/apparmor.d/viewfsd')
  expect(profile).toContain(`  ${PREFIX}/lib/viewfsd/main.js r,`)
  expect(profile).toContain(`  ${PREFIX}/lib/viewfsd/viewfsd-launcher `)
  expect(profile).toContain(`  ${process.execPath} `)
})

test('the driver is where DKMS looks, with its header', () => {
  const { version } = source()
  const sources = output(['ls', join(destination, `/usr/src/memory-view-${version}`)]).split('\n')
  expect(sources).toEqual(expect.arrayContaining(['Kbuild', 'dkms.conf', 'include', 'main.c', 'memview.h']))
  expect(read(`${PREFIX}/include/linux/memory_view.h`)).toContain('MEMVIEW_MAP_FD')
})
