// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench:requests [-- options]`: what a request costs viewfsd and Rust virtiofsd on this machine itself, without guest
 * or emulator. The frontend is a native one (native/bench/); so is the floor, a program that does what must be done and no more.
 * Writes benchmark-requests.json, .md, and .svg.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { barChart } from './bench/chart.ts'
import {
  costTable,
  FLOOR,
  OURS,
  parseMeasurements,
  REQUEST_COLOURS,
  requestBars,
  requestRows,
  requestTable,
  type Sample,
  summary,
} from './bench/requests-report.ts'
import { checkout, resultsDir } from './rig/paths.ts'
import { runMain, say, StepError } from './rig/progress.ts'
import { virtiofsdProgram } from './rig/virtiofsd.ts'

const OPERATIONS = [
  'lookup-known',
  'lookup-cold',
  'getattr-1000',
  'getattr-100000',
  'open-release',
  'read-4k',
  'read-128k',
  'read-1m',
  'read-cold',
  'write-4k',
  'write-128k',
  'write-1m',
  'write-fsync',
  'create-unlink-root',
  'create-unlink-user',
  'rename',
  'readdirplus-1000',
]
/** What the floor can do. */
const OF_FLOOR = [
  'getattr-1000',
  'open-release',
  'read-4k',
  'read-128k',
  'read-1m',
  'write-4k',
  'write-128k',
  'write-1m',
  'create-unlink-root',
  'rename',
]
/** Needs a descriptor for each file where a daemon has no file handles. */
const MANY = 'getattr-100000'
/** Always sixteen at once, on a file system that has a disk. */
const COLD = 'read-cold'

const USAGE = `usage: npm run bench:requests -- [options]       (npm run bench:requests -- start: from exec to the first answer)
  --operations A,B     ${OPERATIONS.join(', ')} (default: all); getattr-N for other hot sets
  --depths 1,32        operations on their way at once, a queue
  --queues 1,4         request queues; virtiofsd, which has one, gets all on that
  --frontends sleep,poll
  --pools 0,1,4,64     virtiofsd's --thread-pool-size
  --against OPTIONS    viewfsd itself with these instead of virtiofsd, so that a ratio says what they cost; several, by |
  --directory DIR      where shared directories are made; more than once for several file systems (default: /dev/shm and ${tmpdir()})
  --rounds N           (default: 3)
  --ms N               how long a cell is measured in a round (default: 50)
  --out DIR            where the results go (default: <cache>/bench)`

const MAGIC: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x1021994: 'tmpfs',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
}

interface Plan {
  readonly operations: readonly string[]
  readonly depths: readonly number[]
  readonly frontends: readonly string[]
  readonly ms: number
}

/** A daemon, by name, and what measures it. */
type Column = readonly [string, (operations: readonly string[]) => Promise<string>]

interface Place {
  readonly share: string
  readonly directory: string
  readonly log: string
  readonly fileSystem: string
}

/** Cells as the frontend wants them. */
function cells(plan: Plan, operations: readonly string[], queues: number): string[] {
  return operations.flatMap((operation) =>
    (operation === COLD ? [16] : plan.depths.map((depth) => depth * queues)).flatMap((inFlight) =>
      plan.frontends.map((how) => `${operation}:${inFlight}:${how}`),
    ),
  )
}

async function measure(plan: Plan, place: Place, queues: number, args: string[]): Promise<string> {
  const frontend = join(checkout, 'native/build/bench/frontend')
  const options = ['--share', place.share, '--queues', `${queues}`, '--ms', `${plan.ms}`]
  const { stdout } = await promisify(execFile)(frontend, [...options, ...args]).catch((error: unknown) => {
    throw new StepError(`the frontend failed: ${String(error)}\n${readFileSync(place.log, 'utf8').slice(-2000)}`)
  })
  return stdout
}

let sockets = 0

/** Starts a daemon, which gets the cells, and ends it. */
async function serve(
  plan: Plan,
  place: Place,
  command: readonly [string, ...string[]],
  queues: number,
  wanted: readonly string[],
): Promise<string> {
  // Of its own, since what the last one has locked beside it may outlive it by a moment.
  const socket = join(place.directory, `socket-${++sockets}`)
  const [program, ...args] = [...command, `--shared-dir=${place.share}`, `--socket-path=${socket}`]
  const log = openSync(place.log, 'a')
  const daemon: ChildProcess = spawn(program, args, {
    stdio: ['ignore', log, log],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const ended = once(daemon, 'exit')
  closeSync(log)
  try {
    return await measure(plan, place, queues, ['--socket', socket, '--pid', `${daemon.pid}`, ...wanted])
  } finally {
    daemon.kill('SIGTERM')
    await ended
  }
}

/** Fewer descriptors than files: there virtiofsd can serve the many files only by handle. */
function lacksDescriptors(): boolean {
  return (
    Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).replace('unlimited', 'Infinity')) < 110_000
  )
}

function numbers(list: string): number[] {
  return list.split(',').map(Number)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      operations: { type: 'string', default: OPERATIONS.join(',') },
      depths: { type: 'string', default: '1,32' },
      queues: { type: 'string', default: '1,4' },
      frontends: { type: 'string', default: 'sleep,poll' },
      pools: { type: 'string', default: '0,1,4,64' },
      against: { type: 'string' },
      directory: { type: 'string', multiple: true, default: ['/dev/shm', tmpdir()] },
      rounds: { type: 'string', default: '3' },
      ms: { type: 'string', default: '50' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) throw new StepError(USAGE)
  const rounds = Number(values.rounds)
  const plan = {
    operations: values.operations.split(','),
    depths: numbers(values.depths),
    frontends: values.frontends.split(','),
    ms: Number(values.ms),
  }
  const virtiofsd = values.against === undefined ? await virtiofsdProgram() : ''
  const viewfsd: [string, ...string[]] = [process.execPath, join(checkout, 'dist/server/main.js'), '--tag=bench']
  const few = plan.operations.filter((operation) => operation !== MANY)
  const many = plan.operations.filter((operation) => operation === MANY)
  const handles = lacksDescriptors() ? ['--inode-file-handles=prefer'] : []

  const samples: Sample[] = []
  for (const parent of values.directory) {
    const directory = mkdtempSync(join(parent, 'viewfsd-bench-'))
    const place: Place = {
      share: join(directory, 'share'),
      directory,
      log: join(directory, 'log'),
      fileSystem: MAGIC[statfsSync(directory).type] ?? 'another file system',
    }
    mkdirSync(place.share)
    const here = few.filter((operation) => operation !== COLD || place.fileSystem !== 'tmpfs')
    try {
      for (let round = 0; round < rounds; round++)
        for (const queues of numbers(values.queues)) {
          const ours = (words: readonly string[]) => (operations: readonly string[]) => {
            const command: [string, ...string[]] = [...viewfsd, `--num-request-queues=${queues}`, ...words]
            return serve(plan, place, command, queues, cells(plan, operations, queues))
          }
          const against = values.against?.split('|').map((words): Column => {
            return [`${OURS} ${words}`, ours(words.split(' ').filter(Boolean))]
          })
          const columns: Column[] = [
            [OURS, ours([])],
            ...(against ??
              values.pools.split(',').map(
                (pool): Column => [
                  `virtiofsd ${pool}`,
                  (operations) => {
                    const command: [string, ...string[]] = [
                      virtiofsd,
                      `--thread-pool-size=${pool}`,
                      ...(operations === many ? handles : []),
                    ]
                    return serve(plan, place, command, 1, cells(plan, operations, queues))
                  },
                ],
              )),
            [
              FLOOR,
              async (operations) => {
                const wanted = cells(
                  plan,
                  operations.filter((operation) => against === undefined && OF_FLOOR.includes(operation)),
                  queues,
                )
                return wanted.length === 0 ? '' : measure(plan, place, queues, ['--floor', ...wanted])
              },
            ],
          ]
          // So that none is always the first.
          const first = round % columns.length
          for (const [daemon, run] of [...columns.slice(first), ...columns.slice(0, first)]) {
            say(`round ${round + 1}, ${place.fileSystem}, ${queues} queue(s): ${daemon}`)
            for (const operations of [here, many])
              if (operations.length > 0)
                for (const measurement of parseMeasurements(await run(operations)))
                  samples.push({ ...measurement, daemon, fileSystem: place.fileSystem, queues })
          }
        }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }

  if (values.against !== undefined) {
    process.stdout.write(costTable(samples, values.against.split('|')))
    return 0
  }
  const rows = requestRows(samples)
  const circumstances = {
    date: new Date().toISOString(),
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Linux ${release()}, Node ${process.version}`,
    virtiofsd: `${execFileSync(virtiofsd, ['--version'], { encoding: 'utf8' }).trim()}, the best of --thread-pool-size ${values.pools}`,
    load: `${loadavg()[2]?.toFixed(1)} (average over a quarter of an hour, the benchmark's own in it)`,
    measured: `${rounds} rounds of ${plan.ms} ms a cell, the daemons taking turns; medians`,
  }
  const report = [
    '# What a request costs\n',
    '![CPU time, ratio to virtiofsd](benchmark-requests.svg)\n',
    'Written by `npm run bench:requests`. Microseconds an operation; a ratio above 1 is in favour of viewfsd. Both daemons have their default',
    'sandbox and system call filter. CPU is that of all threads of the daemon; wall time has the frontend in it, whose own CPU time is in the last',
    'column. `polls`: a frontend that looks for completions all the time, `sleeps`: one that waits for an eventfd. Depth is by queue; virtiofsd has one',
    'queue, which gets as many requests at once as four. open-release and write-fsync are two requests, create-unlink four (CREATE, RELEASE, UNLINK, FORGET), readdirplus a',
    'whole listing of 1,000 names, read-cold 16 at once of what is not in memory. Data lies in pages side by side; what is read and written is checked.',
    'ext4 passes over the inodes that were deleted within five seconds, so create-unlink costs more there the more there have been, whoever it was.',
    'Where other work shares the machine, CPU times are to be trusted more than wall times, and the best of several pools has the more luck.',
    'With four queues viewfsd and the floor have four threads where virtiofsd has one: on few CPUs they take these from each other and from the',
    'frontend, and wait for each other where all work on one file or directory. Compare with the floor there.',
    'viewfsd puts an FSYNC off, so that others need not wait for it; virtiofsd without a pool has all wait.',
    'The floor is a program with the same rings and system calls, without sandbox, checks and tables (native/bench/floor.cc).\n',
    ...Object.entries(circumstances).map(([name, value]) => `- ${name}: ${value}`),
    '\n',
    summary(rows),
    requestTable(rows),
  ].join('\n')
  const out = resultsDir(values.out)
  const name = join(out, 'benchmark-requests')
  writeFileSync(`${name}.json`, `${JSON.stringify({ circumstances, rows }, null, 2)}\n`)
  writeFileSync(`${name}.md`, report)
  writeFileSync(
    `${name}.svg`,
    barChart(
      'CPU time of a request (virtiofsd / viewfsd; log scale; above 1: viewfsd takes less)',
      REQUEST_COLOURS,
      requestBars(rows),
    ),
  )
  process.stdout.write(report)
  say(`results: ${name}.{json,md,svg}`)
  return 0
}

runMain(main)
