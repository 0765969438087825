// SPDX-License-Identifier: Apache-2.0
/** Sockets and PID files at start and end; what is virtiofsd's way is tried on Debian's virtiofsd as well. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { virtiofsdProgram } from '../../e2e/rig/virtiofsd.ts'
import { listenUnix } from '../../native/index.ts'
import { testing } from '../../native/testing/index.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { Frontend } from './harness/frontend.ts'
import { connectFrontend, startDaemon } from './harness/session.ts'

const PLAIN = ['--rlimit-nofile=0']

async function command(who: 'virtiofsd' | 'viewfsd'): Promise<string[]> {
  if (who === 'virtiofsd') return [await virtiofsdProgram()]
  return [process.execPath, resolve(import.meta.dirname, '../../dist/server/main.js')]
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((done) => child.once('exit', (code) => done(code)))
}

test.each(['virtiofsd', 'viewfsd'] as const)('%s serves on an inherited socket and leaves no files', async (who) => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  mkdirSync(join(directory, 'share'))
  const path = join(directory, 'elsewhere')
  const listener = listenUnix(path)
  const [program = '', ...before] = await command(who)
  const args = [...before, `--shared-dir=${directory}/share`, '--fd=3', ...PLAIN]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', listener] })
  const exit = ended(child)
  closeSync(listener)
  const frontend = new Frontend(testing.connectUnix(path))
  frontend.realize()
  frontend.close()
  expect(await exit).toBe(0)
  expect(existsSync(`${path}.pid`)).toBe(false)
})

test.each(['virtiofsd', 'viewfsd'] as const)('%s refuses a socket that another daemon serves', async (who) => {
  const daemon = startDaemon({ args: ['--keep-listening'] })
  const frontend = await connectFrontend(daemon)
  expect(readFileSync(`${daemon.socketPath}.pid`, 'utf8')).toBe(`${daemon.pid}\n`)
  const [program = '', ...before] = await command(who)
  const args = [...before, `--shared-dir=${daemon.sharedDir}`, `--socket-path=${daemon.socketPath}`, ...PLAIN]
  expect(await ended(spawn(program, args, { stdio: 'ignore' }))).toBe(1)
  expect(readFileSync(`${daemon.socketPath}.pid`, 'utf8')).toBe(`${daemon.pid}\n`)
  frontend.close()
  // It is still there.
  await connectFrontend(daemon)
})

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s ends it, and the socket goes', async (signal) => {
  const daemon = startDaemon({ args: ['--keep-listening'] })
  await connectFrontend(daemon)
  daemon.signal(signal)
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
  expect([existsSync(daemon.socketPath), existsSync(`${daemon.socketPath}.pid`)]).toEqual([false, true])
})

test.each(['namespace', 'chroot', 'none'])('leaves no socket where it can not start: --sandbox=%s', async (sandbox) => {
  // After the socket has been made.
  const daemon = startDaemon({ args: [`--sandbox=${sandbox}`, '--shared-dir=/proc', '--inode-file-handles=mandatory'] })
  expect(await daemon.exit()).toEqual({ code: 1, signal: null })
  expect([existsSync(daemon.socketPath), existsSync(`${daemon.socketPath}.pid`)]).toEqual([false, true])
})
