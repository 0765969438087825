// SPDX-License-Identifier: Apache-2.0
/** What a terminal is told at the start: QEMU takes that line as it is printed. */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FsDaemon } from '../guest/daemon.ts'
import { shellQuote } from '../rig/command.ts'
import { checkout } from '../rig/paths.ts'
import { check, equal, test } from './harness.ts'

const QMP = ['qmp_capabilities', 'query-status', 'quit'].map((execute) => `${JSON.stringify({ execute })}\n`).join('')

export async function terminalSuite(): Promise<void> {
  await test('terminal: QEMU takes the line that viewfsd prints', async () => {
    // Such as shells and QEMU take for something else.
    const folder = '/run/terminal, memory-view'
    mkdirSync(folder, { recursive: true })
    const socketPath = join(folder, 'socket')
    const options = [`--socket-path=${socketPath}`, '--shared-dir=/srv', '--window=memory-view', '--tag=it is, a tag']
    const command = [process.execPath, join(checkout, 'dist/server/main.js'), ...options].map(shellQuote).join(' ')
    const argv = ['script', '-qefc', command, '/dev/null']
    const daemon = new FsDaemon('viewfsd', argv, socketPath, join(folder, 'log'))
    await daemon.listening()
    const printed = (): string | undefined => /waiting for a frontend: (.*) \.\.\.\r/.exec(daemon.log())?.[1]
    while (printed() === undefined) {
      check(daemon.running(), daemon.log())
      await sleep(50)
    }
    const qemu = `${printed()} -S -nodefaults -display none -qmp stdio`
    const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', qemu], { input: QMP, encoding: 'utf8' })
    equal(status, 0, `${qemu}\n${stdout}${stderr}`)
    check(/"status": ?"prelaunch"/.test(stdout), stdout)
    equal(await daemon.exited, 'exit status 0', 'the end of the daemon')
    check(daemon.log().includes('a frontend has connected'), daemon.log())
  })
}
