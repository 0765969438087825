// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { qemuCommand } from './start-qemu.ts'

function words(command: string): string[] {
  return execFileSync('sh', ['-c', `printf '%s\\n' ${command}`], { encoding: 'utf8' })
    .trim()
    .split('\n')
}

/** The devices of the documents, by name. */
function documented(device: string): string | undefined {
  const usage = readFileSync(new URL('../doc/usage.md', import.meta.url), 'utf8')
  return new RegExp(`-device (${device}\\S+)`).exec(usage)?.[1]
}

test('names the device that shows the window, where there are window and tag', () => {
  const shown = words(qemuCommand({ socketPath: '/run/v.sock', window: true, tag: 'data' }))
  expect(shown).toContain('socket,id=fs0,path=/run/v.sock')
  expect(shown).toContain(documented('vhost-user-test-device-pci'))
})

test.each([
  [true, undefined],
  [false, 'data'],
  [false, undefined],
] as const)('names the plain device otherwise: window %s, tag %s', (window, tag) => {
  const shown = words(qemuCommand({ socketPath: '/run/v.sock', window, tag }))
  expect(shown).toContain(documented('vhost-user-fs-pci'))
})

test('can be copied whatever the path is', () => {
  const shown = words(qemuCommand({ socketPath: "/tmp/a, b's $(id)", window: false, tag: 'a,b' }))
  expect(shown).toContain("socket,id=fs0,path=/tmp/a,, b's $(id)")
  expect(shown).toContain('vhost-user-fs-pci,chardev=fs0,tag=a,,b,queue-size=1024')
})
