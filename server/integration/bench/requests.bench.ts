// SPDX-License-Identifier: Apache-2.0
/**
 * What a request costs viewfsd and Rust virtiofsd on this machine itself, without guest or emulator: `npm run bench:requests`.
 * The integration tests' frontend sends the requests; each daemon gets all of them in each round, and the daemons take turns.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, test } from 'vitest'
import { virtiofsdProgram } from '../../../e2e/rig/virtiofsd.ts'
import { Opcode } from '../harness/fuse-abi.ts'
import type { RequestOptions } from '../harness/fuse-transport.ts'
import { type Session, startSession } from '../harness/session.ts'
import { cString, pack } from '../harness/wire.ts'

const ROUNDS = Number(process.env.VIEWFSD_BENCH_ROUNDS ?? 5)
/** Requests of each kind in a round; some more come before, unmeasured. */
const REQUESTS = 6400
const WARM_UP = 1600
/** In flight at once: what one thread of a guest waits for, and a busy queue. */
const DEPTHS = [1, 16] as const
const DAEMONS = ['viewfsd', 'virtiofsd'] as const

interface Request {
  readonly opcode: number
  readonly nodeid: bigint
  readonly args: Uint8Array
  readonly options: RequestOptions
}

/** Microseconds a request. */
interface Cost {
  readonly wall: number
  /** Of the daemon alone, all of its threads. */
  readonly cpu: number
}

/** By row of the table. */
const costs = new Map<string, Record<(typeof DAEMONS)[number], Cost[]>>()

/** CPU time of a process and its children, nanoseconds (Documentation/scheduler/sched-stats.rst). */
function cpuTime(pid: number): number {
  let sum = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0])
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
    for (const child of children === '' ? [] : children.split(' ')) sum += cpuTime(Number(child))
  }
  return sum
}

function kinds({ client, daemon }: Session): Record<string, Request> {
  writeFileSync(join(daemon.sharedDir, 'file'), Buffer.alloc(1 << 20, 'x'))
  const { nodeid } = client.lookup(1n, 'file')
  const fh = client.open(nodeid, 2)
  /** struct fuse_read_in, and struct fuse_write_in */
  const io = (offset: number, size: number) =>
    pack(['u64', fh], ['u64', offset], ['u32', size], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', 0])
  const page = Buffer.alloc(4096, 'y')
  return {
    LOOKUP: { opcode: Opcode.LOOKUP, nodeid: 1n, args: cString('file'), options: { replyBytes: 128 } },
    GETATTR: {
      opcode: Opcode.GETATTR,
      nodeid,
      args: pack(['u32', 0], ['u32', 0], ['u64', 0]),
      options: { replyBytes: 104 },
    },
    'READ of 4 KiB': { opcode: Opcode.READ, nodeid, args: io(8192, 4096), options: { dataRoom: 4096 } },
    'READ of 128 KiB': { opcode: Opcode.READ, nodeid, args: io(0, 131_072), options: { dataRoom: 131_072 } },
    'WRITE of 4 KiB': { opcode: Opcode.WRITE, nodeid, args: io(8192, 4096), options: { data: page, replyBytes: 8 } },
  }
}

function send({ transport }: Session, { opcode, nodeid, args, options }: Request, count: number, depth: number): void {
  for (let sent = 0; sent < count; sent += depth) {
    const before = transport.requestQueue.availableIndex
    const pending = Array.from({ length: depth }, () => transport.enqueue(opcode, nodeid, args, options))
    transport.requestQueue.kick(before)
    for (const request of pending) transport.wait(request)
  }
}

function measure(session: Session, request: Request, depth: number): Cost {
  send(session, request, WARM_UP, depth)
  const cpu = cpuTime(session.daemon.pid)
  const since = process.hrtime.bigint()
  send(session, request, REQUESTS, depth)
  const wall = Number(process.hrtime.bigint() - since)
  return { wall: wall / REQUESTS / 1000, cpu: (cpuTime(session.daemon.pid) - cpu) / REQUESTS / 1000 }
}

for (let round = 1; round <= ROUNDS; round++)
  // oxlint-disable-next-line vitest/expect-expect -- it measures
  test.each(DAEMONS)(`round ${round}: %s`, async (name) => {
    const session = await startSession({
      device: 'fs-pci',
      args: ['--sandbox=none', '--cache=auto'],
      ...(name === 'virtiofsd' ? { program: await virtiofsdProgram(), tag: '' } : {}),
    })
    for (const [kind, request] of Object.entries(kinds(session)))
      for (const depth of DEPTHS) {
        const row = `${kind}, ${depth} at once`
        const cell = costs.get(row) ?? { viewfsd: [], virtiofsd: [] }
        cell[name].push(measure(session, request, depth))
        costs.set(row, cell)
      }
  })

function median(rounds: readonly Cost[], what: keyof Cost): number {
  return rounds.map((cost) => cost[what]).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)] ?? Number.NaN
}

afterAll(() => {
  const rows = [...costs].map(([row, { viewfsd, virtiofsd }]) => {
    const compared = (['cpu', 'wall'] as const).map((what) => {
      const [ours, theirs] = [median(viewfsd, what), median(virtiofsd, what)]
      return `${ours.toFixed(1)} | ${theirs.toFixed(1)} | ${(ours / theirs).toFixed(2)}`
    })
    return `| ${row} | ${compared.join(' | ')} |`
  })
  process.stdout.write(
    `${[
      `Medians of ${ROUNDS} rounds of ${REQUESTS} requests, microseconds a request; wall time has the frontend's own in it.`,
      '',
      '| request | CPU, viewfsd | virtiofsd | ratio | wall, viewfsd | virtiofsd | ratio |',
      '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
      ...rows,
    ].join('\n')}\n`,
  )
})
