// SPDX-License-Identifier: Apache-2.0
/**
 * How long viewfsd and Rust virtiofsd take from exec to the first answer on their socket, and what they occupy then and with
 * a frontend: `npm run bench:requests -- start`. A bare Node, with a thread and without, shows what is not ours.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, test } from 'vitest'
import { virtiofsdProgram } from '../../../e2e/rig/virtiofsd.ts'
import { startSession } from '../harness/session.ts'

const ROUNDS = Number(process.env.VIEWFSD_BENCH_ROUNDS ?? 15)
const PROGRAM = [process.execPath, resolve(import.meta.dirname, '../../../dist/server/main.js')]

interface Start {
  readonly ms: number
  readonly cpuMs: number
  readonly idleMiB: number
}

function descendants(pid: number): number[] {
  const own = readdirSync(`/proc/${pid}/task`).flatMap((task) => {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
    return children === '' ? [] : children.split(' ').map(Number)
  })
  return [pid, ...own.flatMap(descendants)]
}

/** MiB, of a process and those below it. */
function resident(pid: number): number {
  let kib = 0
  for (const process of descendants(pid))
    kib += Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${process}/smaps_rollup`, 'utf8'))?.[1])
  return kib / 1024
}

/** Milliseconds, likewise. */
function cpu(pid: number): number {
  let ns = 0
  for (const process of descendants(pid))
    for (const task of readdirSync(`/proc/${process}/task`))
      ns += Number(readFileSync(`/proc/${process}/task/${task}/schedstat`, 'utf8').split(' ')[0])
  return ns / 1e6
}

/** @param ready what it writes to standard error when it serves */
async function start([program = '', ...args]: readonly string[], ready: RegExp): Promise<Start> {
  const begin = performance.now()
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let text = ''
  for await (const piece of child.stderr ?? []) {
    text += String(piece)
    if (ready.test(text)) break
  }
  const ms = performance.now() - begin
  const pid = child.pid ?? 0
  const result = { ms, cpuMs: cpu(pid), idleMiB: resident(pid) }
  child.kill('SIGTERM')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return result
}

function node(script: string): string[] {
  return [process.execPath, '-e', `${script}; process.stderr.write('ready')`]
}

const starts = new Map<string, Start[]>()
const serving = new Map<string, number>()
const directory = mkdtempSync('/tmp/viewfsd-start-')
const served = ['--shared-dir', directory, '--socket-path', join(directory, 'socket')]

// oxlint-disable-next-line vitest/expect-expect -- it measures
test(`${ROUNDS} starts of each`, async () => {
  const programs: Record<string, string[]> = {
    viewfsd: [...PROGRAM, ...served],
    virtiofsd: [await virtiofsdProgram(), ...served],
    'Node alone': node('setInterval(() => {}, 1e6)'),
    'Node with a thread': node('new (require("worker_threads").Worker)("setInterval(() => {}, 1e6)", { eval: true })'),
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, program] of Object.entries(programs)) {
      rmSync(join(directory, 'socket'), { force: true })
      starts.set(name, [
        ...(starts.get(name) ?? []),
        await start(program, /waiting for a frontend|Waiting for vhost-user|ready/),
      ])
    }
}, 600_000)

// oxlint-disable-next-line vitest/expect-expect -- it measures
test.each(['viewfsd', 'virtiofsd'])('%s with a frontend', async (name) => {
  const session = await startSession({
    device: 'fs-pci',
    args: [],
    ...(name === 'virtiofsd' ? { program: await virtiofsdProgram(), tag: '' } : {}),
  })
  session.client.getattr(1n)
  serving.set(name, resident(session.daemon.pid))
})

function median(all: readonly Start[], what: keyof Start): string {
  return (all.map((one) => one[what]).toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN).toFixed(1)
}

afterAll(() => {
  rmSync(directory, { recursive: true, force: true })
  const rows = [...starts].map(
    ([name, all]) =>
      `| ${name} | ${median(all, 'ms')} | ${median(all, 'cpuMs')} | ${median(all, 'idleMiB')} | ${serving.get(name)?.toFixed(1) ?? ''} |`,
  )
  process.stdout.write(
    `${['| program | exec to listening, ms | CPU, ms | RSS waiting, MiB | RSS serving, MiB |', '| --- | ---: | ---: | ---: | ---: |', ...rows].join('\n')}\n`,
  )
})
