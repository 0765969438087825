// SPDX-License-Identifier: Apache-2.0
/**
 * What requests that wait for the host cost the others of their queue, and how many wait at once:
 * `npm run bench:requests -- waiting`. Each with the pool, and without it (--thread-pool-size=0).
 */
import { execFileSync } from 'node:child_process'
import { constants, closeSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished, test } from 'vitest'
import { Opcode, ROOT_ID } from '../harness/fuse-abi.ts'
import { type Daemon, makeScratch, removeScratch } from '../harness/daemon.ts'
import { type Session, startDaemon, startSession } from '../harness/session.ts'
import { pack } from '../harness/wire.ts'
import { MisbehavingFs } from '../misbehaving-fs.ts'

const POOLS = [64, 0] as const
const DEPTH = 32
const MIB = 2 ** 20
/** Of the file that is synced. */
const SYNC_MIB = Number(process.env.VIEWFSD_BENCH_SYNC_MIB ?? 1024)
const SECONDS = 4

function now(): number {
  return Number(process.hrtime.bigint()) / 1000
}

/** Microseconds. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN)
}

function fill(path: string, mebibytes: number): number {
  const fd = openSync(path, 'w')
  const block = Buffer.alloc(MIB, 'x')
  for (let i = 0; i < mebibytes; i++) writeSync(fd, block)
  return fd
}

/** Reads a second that fio makes of the same file: the most that this disk does. */
function fio(path: string, depth: number): number {
  const output = execFileSync('fio', [
    '--name=reads',
    `--filename=${path}`,
    '--rw=randread',
    '--bs=4k',
    '--direct=1',
    '--ioengine=io_uring',
    `--iodepth=${depth}`,
    `--runtime=${SECONDS}`,
    '--time_based',
    '--output-format=json',
  ]).toString()
  const report: { jobs: { read: { iops: number } }[] } = JSON.parse(output.slice(output.indexOf('{')))
  return Math.round(report.jobs[0]?.read.iops ?? Number.NaN)
}

/** Reads a second of a guest, played by the native frontend, and the daemon's CPU time for each in microseconds. */
function readsOfGuest(daemon: Daemon, depth: number, frontend: 'sleep' | 'poll'): { reads: number; cpu: number } {
  const output = execFileSync('native/build/bench/frontend', [
    '--share',
    daemon.sharedDir,
    '--socket',
    daemon.socketPath,
    '--pid',
    String(daemon.pid),
    '--ms',
    String(SECONDS * 1000),
    `read-direct:${depth}:${frontend}`,
  ]).toString()
  const { operations, wallNs, daemonNs }: Record<string, number> = JSON.parse(output)
  const count = operations ?? Number.NaN
  return { reads: Math.round(count / ((wallNs ?? 0) / 1e9)), cpu: Math.round((daemonNs ?? 0) / count / 100) / 10 }
}

// oxlint-disable-next-line vitest/expect-expect -- it measures
test('random O_DIRECT reads of 4 KiB', async () => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  const serve = async (pool: number, depth: number, frontend: 'sleep' | 'poll'): Promise<string> => {
    const args = ['--allow-direct-io', `--thread-pool-size=${pool}`]
    const daemon = startDaemon({ sharedDir: directory, args })
    await daemon.until(() => existsSync(daemon.socketPath), 'the socket')
    const { reads, cpu } = readsOfGuest(daemon, depth, frontend)
    await daemon.kill()
    return `${reads} (${cpu} us)`
  }
  // Makes the file.
  await serve(64, 1, 'sleep')
  const path = join(directory, 'data')
  for (const depth of [1, DEPTH]) {
    const row: Record<string, number | string> = { 'fio, io_uring': fio(path, depth) }
    for (const pool of POOLS)
      for (const frontend of ['sleep', 'poll'] as const)
        row[`pool of ${pool}, ${frontend}`] = await serve(pool, depth, frontend)
    row['fio again'] = fio(path, depth)
    console.log(`reads a second, ${depth} at once: ${JSON.stringify(row)}`)
  }
})

/** Latencies of others, in microseconds: GETATTR, LOOKUP and READ in turns until `ended`. */
function others({ client }: Session, ended: (count: number) => boolean): number[] {
  const { nodeid } = client.lookup(ROOT_ID, 'quick')
  const fh = client.open(nodeid, constants.O_RDONLY)
  const times: number[] = []
  while (!ended(times.length)) {
    const before = now()
    if (times.length % 3 === 0) client.getattr(nodeid)
    else if (times.length % 3 === 1) client.lookup(ROOT_ID, 'quick')
    else client.read(nodeid, fh, 0, 4096)
    times.push(now() - before)
  }
  return times
}

function describe(times: readonly number[]): string {
  return `p50 ${percentile(times, 0.5)}, p99 ${percentile(times, 0.99)}, max ${percentile(times, 1)} us of ${times.length}`
}

// oxlint-disable-next-line vitest/expect-expect -- it measures
test('others beside a READ that hangs for 5 s', async () => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  for (const name of ['backing', 'shared', 'shared/disk']) mkdirSync(join(directory, name))
  writeFileSync(join(directory, 'backing', 'slow'), 'slow')
  writeFileSync(join(directory, 'shared', 'quick'), Buffer.alloc(4096))
  const disk = await MisbehavingFs.mount(join(directory, 'backing'), join(directory, 'shared', 'disk'))
  onTestFinished(() => disk.unmount())
  for (const pool of POOLS) {
    const session = await startSession({ sharedDir: join(directory, 'shared'), args: [`--thread-pool-size=${pool}`] })
    const { client, transport } = session
    const mount = client.lookup(ROOT_ID, 'disk')
    const { nodeid } = client.lookup(mount.nodeid, 'slow')
    const fh = client.open(nodeid, constants.O_RDONLY)
    others(session, (count) => count === 3000)
    const idle = others(session, (count) => count === 15_000)
    const rule = await disk.stall('read', { times: 1 })
    const read = client.startRead(nodeid, fh, 0, 4096)
    await rule.hit()
    const since = now()
    const end = setTimeout(() => void rule.end(), 5000)
    const beside = pool === 0 ? [] : others(session, () => now() - since > 5e6)
    clearTimeout(end)
    await rule.end()
    transport.wait(read)
    console.log(`pool of ${pool}: idle ${describe(idle)}; beside ${pool === 0 ? 'none answered' : describe(beside)}`)
  }
})

// oxlint-disable-next-line vitest/expect-expect -- it measures
test('LOOKUPs beside an fsync', async () => {
  const directory = makeScratch()
  onTestFinished(() => removeScratch(directory))
  writeFileSync(join(directory, 'quick'), Buffer.alloc(4096))
  for (const pool of POOLS) {
    const name = `large-${pool}`
    closeSync(fill(join(directory, name), SYNC_MIB))
    const session = await startSession({ sharedDir: directory, args: [`--thread-pool-size=${pool}`] })
    const { client, transport } = session
    const { nodeid } = client.lookup(ROOT_ID, name)
    const fh = client.open(nodeid, constants.O_RDWR)
    const idle = others(session, (count) => count === 3000)
    const since = now()
    const sync = transport.submit(Opcode.FSYNC, nodeid, pack(['u64', fh], ['u32', 0], ['u32', 0]))
    const beside = others(session, (count) => sync.done && count > 0)
    const took = Math.round((now() - since) / 1000)
    transport.wait(sync)
    console.log(`pool of ${pool}: fsync ${took} ms; idle ${describe(idle)}; beside ${describe(beside)}`)
  }
})
