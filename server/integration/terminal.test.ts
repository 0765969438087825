// SPDX-License-Identifier: Apache-2.0
/** What people see: `viewfsd check`, and a start in a terminal, which script(1) makes. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { connectFrontend, startDaemon } from './harness/session.ts'

const PROGRAM = resolve(import.meta.dirname, '../../dist/server/main.js')

function check(...args: string[]): { status: number | null; stdout: string } {
  return spawnSync(process.execPath, [PROGRAM, 'check', ...args], { encoding: 'utf8' })
}

test('a terminal gets readable lines, from all threads, and the command that starts QEMU', async () => {
  const terminal = ['sh', '-c', 'SHELL=/bin/sh exec script -qefc "$0 $*" /dev/null']
  const daemon = startDaemon({ through: terminal, args: ['--log-level=debug'], env: { NO_COLOR: '1' } })
  const frontend = await connectFrontend(daemon)
  frontend.close()
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
  const lines = daemon.log.trimEnd().split('\r\n')
  for (const line of lines) expect(line).toMatch(/^[\d:]{8}\.\d{3}Z (DEBUG|INFO |WARN ) \S/)
  const waiting = lines.filter((line) => line.includes('waiting for a frontend: '))
  expect(waiting).toHaveLength(1)
  expect(waiting[0]).toContain(`path=${daemon.socketPath} -device vhost-user-fs-pci,chardev=fs0,tag=test,`)
})

test('a pipe gets JSON', async () => {
  const daemon = startDaemon()
  ;(await connectFrontend(daemon)).close()
  await daemon.exit()
  expect(daemon.records).toHaveLength(daemon.log.trimEnd().split('\n').length)
})

test('check says of each part whether it is there, as the rest of the program sees it', () => {
  const { status, stdout } = check('--json')
  const report: unknown = JSON.parse(stdout)
  expect(report).toMatchObject({ window: status === 0, findings: expect.any(Array) })
  const verdict = (name: string): string | undefined =>
    new RegExp(`"name": "${name}",\\s+"verdict": "(\\w+)"`).exec(stdout)?.[1]
  expect(verdict('module')).toBe(existsSync('/dev/memory-view') ? 'yes' : 'no')
  expect(verdict('KVM')).toBe(existsSync('/dev/kvm') ? 'yes' : 'no')
  expect(check().stdout).toMatch(/^(yes|less|no) {2,4}kernel {2,}Linux /m)
  expect(check('--jsn').status).toBe(2)
})
