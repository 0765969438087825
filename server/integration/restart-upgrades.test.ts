// SPDX-License-Identifier: Apache-2.0
/**
 * The program is upgraded again and again, from one that is installed to another and back, while a guest changes files, and each
 * reply is compared with a model. VIEWFSD_UPGRADES=100 for a long run by hand; VIEWFSD_OTHER=DIR: a checkout with a build of another
 * version, else the other one is the same under another name.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { changeFilesWhile } from './harness/disturbed.ts'
import { startSession } from './harness/session.ts'

const UPGRADES = Number(process.env.VIEWFSD_UPGRADES ?? 2)
const CHECKOUT = resolve(import.meta.dirname, '../..')

const [, VERSION = ''] = /"version": "(.+)"/.exec(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) ?? []
const NEXT_VERSION = `${VERSION}-next`

/** What share/Makefile installs of it. @returns the program */
function install(checkout: string, directory: string, version?: string): string {
  mkdirSync(directory)
  const server = join(checkout, 'dist/server')
  const files = readdirSync(server).filter((name) => /^(main(-.*)?\.js|queue-worker\.cjs)$/.test(name))
  for (const name of files) cpSync(join(server, name), join(directory, name))
  for (const name of ['viewfsd.node', 'viewfsd-launcher'])
    cpSync(join(checkout, 'native/build', name), join(directory, name))
  cpSync(join(checkout, 'share/program/package.json'), join(directory, 'package.json'))
  for (const name of version === undefined ? [] : files) {
    const path = join(directory, name)
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll(JSON.stringify(VERSION), JSON.stringify(version)))
  }
  return join(directory, 'main.js')
}

test(`answers as the model does, whenever another program takes over (${UPGRADES} times)`, {
  timeout: 60_000 + UPGRADES * 5000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-upgrades-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const one = install(CHECKOUT, join(directory, 'one'))
  const other = process.env.VIEWFSD_OTHER
  const another = install(other ?? CHECKOUT, join(directory, 'other'), other === undefined ? NEXT_VERSION : undefined)
  const link = join(directory, 'viewfsd')
  symlinkSync(one, link)
  const session = await startSession({
    program: link,
    args: ['--on-crash=restart', '--window=none', '--sandbox=namespace', '--seccomp=kill'],
  })
  const { daemon } = session
  await changeFilesWhile(session, 'upgrade-server-process.js', [String(UPGRADES), link, one, another])
  const log = readFileSync(join(daemon.directory, 'log'), 'utf8')
  expect(log.match(/"handing-over"/gu)?.length).toBe(UPGRADES)
  expect(log.match(/"server-restarted"/gu)?.length).toBe(UPGRADES)
  expect(log).not.toContain('can not go on')
  const ctl = join(CHECKOUT, 'dist/server/viewfsdctl.js')
  const { stdout } = spawnSync(process.execPath, [ctl, `--socket=${daemon.socketPath}`, '--json', 'status'], {
    encoding: 'utf8',
  })
  if (other === undefined)
    expect(JSON.parse(stdout)).toMatchObject({ version: UPGRADES % 2 === 0 ? VERSION : NEXT_VERSION })
})
