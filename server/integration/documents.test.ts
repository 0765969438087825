// SPDX-License-Identifier: Apache-2.0
/**
 * Command blocks of the documents, executed as they stand there, on a machine of their own as far as it matters: with empty /run
 * and /srv, a root that keeps no changes in /usr/local/bin and /usr/libexec, and viewfsd and viewfsdctl in the PATH.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text as allText } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { commandBlock } from '../../e2e/docs/blocks.ts'

const DIST = resolve(import.meta.dirname, '../../dist/server')
const SHARED = '--socket-path=/run/viewfsd.sock --shared-dir=/srv/data'
/** What a reader has done before most blocks. */
const START = `viewfsd ${SHARED} --tag=data 2>/run/log & until grep -qs waiting /run/log; do sleep 0.05; done`

interface Result {
  readonly status: number | null
  /** Of both streams. */
  readonly output: string
}

function program(folder: string, name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\nexec '${process.execPath}' '${join(DIST, script)}' "$@"\n`)
  chmodSync(join(folder, name), 0o755)
}

/** Runs a script in namespaces of its own, where all that it has started ends with it. */
async function onOwnMachine(script: string): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'viewfsd-documents-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  program(folder, 'viewfsd', 'main.js')
  program(folder, 'viewfsdctl', 'viewfsdctl.js')
  const prepare = `for dir in /run /srv /usr/local/bin /usr/libexec; do mount -t tmpfs -o mode=755 tmpfs $dir; done
    mkdir -p /srv/data /run/viewfsd; echo hello >/srv/data/file; cp ${folder}/* /usr/local/bin
    cp ${folder}/viewfsd /usr/libexec
    mount -t proc proc /proc; PATH=/usr/local/bin:$PATH; cd /run; set +e`
  const argv = ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', `set -e; ${prepare}\n( ${script}\n) 2>&1`]
  const child: ChildProcess = spawn('unshare', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  const output = child.stdout === null ? '' : allText(child.stdout)
  const [status] = await once(child, 'exit')
  return { status: Number(status), output: await output }
}

/** Runs a block of a document between what comes before it and what looks at it. */
function runBlock(document: string, name: string, before = 'true', after = 'true'): Promise<Result> {
  return onOwnMachine(`${before}\n${commandBlock(document, name).join('\n')}\nstatus=$?\n${after}\nexit $status`)
}

/** A command that prints what there is at an address, which is an expression of JavaScript. */
function httpGet(where: string): string {
  return `node -e "require('http').get(${where}, (reply) => reply.on('data', (text) => process.stdout.write(text)))"`
}

test('whether this host can do a window', async () => {
  const { status, output } = await runBlock('doc/usage.md', 'check')
  expect(output).toMatch(/^(yes|less|no) {2,4}kernel {2,}Linux /m)
  expect(output).toMatch(status === 0 ? /can do a window\.$/m : /can not do a window as it is/)
})

test('what libvirt asks', async () => {
  const { output } = await runBlock('doc/managers.md', 'capabilities')
  expect(JSON.parse(output)).toMatchObject({ type: 'fs' })
})

test('Incus: another virtiofsd, and its command line', async () => {
  const link = await runBlock('doc/managers.md', 'incus')
  expect(JSON.parse(link.output)).toMatchObject({ type: 'fs' })
  // Accepted as it is; then descriptor 3 is no socket.
  const maps = ['uid', 'gid'].flatMap((kind) => [
    `--translate-${kind}=map:0:1000000:65536`,
    `--translate-${kind}=forbid-guest:65536:4294901759`,
  ])
  for (const own of [maps, ['--posix-acl']]) {
    const command = `virtiofsd --fd=3 --cache=metadata --shared-dir=/srv/data ${own.join(' ')} 3</dev/null`
    const { status, output } = await onOwnMachine(`${commandBlock('doc/managers.md', 'incus')[0]}\n${command}`)
    expect(output).toMatch(/--fd=3: not a socket that listens/)
    expect(status).toBe(1)
  }
})

test('the log in a pipe', async () => {
  const [line = ''] = commandBlock('doc/logging.md', 'json')
  const { output } =
    await onOwnMachine(`( ${line} ) >/run/out & until viewfsdctl --socket=/run/viewfsd.sock status >/run/status 2>&1; do sleep 0.05; done
    kill $(cat /run/viewfsd.sock.pid); wait; cat /run/out; true`)
  expect(output).toContain('"event": "waiting"')
})

test('metrics over TCP, a socket, and once', async () => {
  const [tcp = '', path = '', once_ = ''] = commandBlock('doc/metrics.md', 'metrics')
  for (const [daemon, where] of [
    [tcp, "'http://127.0.0.1:9551/metrics'"],
    [path, "{ socketPath: '/run/viewfsd/data.metrics', path: '/metrics' }"],
  ] as const) {
    const { output } = await onOwnMachine(`${daemon} 2>/run/log &
      until [ -S /run/viewfsd.sock ]; do sleep 0.05; done; ${httpGet(where)}; ${once_}`)
    expect(output.match(/^viewfsd_uptime_seconds \d+$/gm)).toHaveLength(2)
  }
})

/** Document, block, what comes before it, what it prints. */
const TROUBLES = [
  ['doc/troubleshooting.md', 'start-failed', 'true', /^1$/m],
  ['doc/troubleshooting.md', 'no-window', START, /^window +none$/m],
  ['doc/troubleshooting.md', 'no-window-why', START, /window auto: none, because|window auto: memory view/],
  ['doc/troubleshooting.md', 'requests', START, /^no queue thread is at work on a request$/m],
  ['doc/troubleshooting.md', 'open-files', 'true', /^\d+|unlimited$/m],
  ['doc/troubleshooting.md', 'dump', START, /"sharedDir"|"version"/],
] as const

test.each(TROUBLES)('%s: %s', async (document, name, before, printed) => {
  const { output } = await runBlock(document, name, before, 'cat /run/*.json 2>/dev/null')
  expect(output).toMatch(printed)
})
