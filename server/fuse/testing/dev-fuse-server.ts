// SPDX-License-Identifier: Apache-2.0
/**
 * Serves a directory through this machine's own /dev/fuse instead of a virtqueue, so that the kernel's FUSE client and
 * ordinary programs can try the FUSE server and the file system without a guest.
 *
 * `node --conditions=testing dev-fuse-server.js DIRECTORY MOUNTPOINT [OPTIONS-JSON [THREADS [far-offsets]]]` mounts, writes "ready" and the
 * number of threads, and serves until the file system is unmounted. With `far-offsets`, directory offsets are 2^63 and above.
 * SIGUSR1 makes it write its counters, one line of JSON.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import type { PassthroughOptions } from '../../passthrough/options.ts'
import { createSharedDirectory, PassthroughFileSystem } from '../../passthrough/passthrough-file-system.ts'
import { FuseInHeader, FuseOpcode, FuseOutHeader } from '../abi.ts'
import { FuseCounters, NOTHING_SERVED } from '../counters.ts'
import { FuseServer } from '../../operations/server.ts'
import { FuseSession } from '../session.ts'
import { BothPlanes } from './both-planes.ts'
import { FakeChannel } from './fake-channel.ts'
import { FakeWindow } from './fake-window.ts'
import { askNearOffset, tellFarOffsets } from './far-offsets.ts'

interface ThreadData {
  device: number
  directory: number
  session: SharedArrayBuffer
  counters: SharedArrayBuffer
  options: Partial<PassthroughOptions>
  farOffsets: boolean
}

/** The largest WRITE and its headers. */
const BUFFER_BYTES = 1024 * 1024 + 4096

function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/** Serves requests on the calling thread until the file system is unmounted. */
function serve(data: ThreadData): void {
  const session = new FuseSession(data.session)
  const fileSystem = new PassthroughFileSystem(data.directory, session, data.options)
  fileSystem.attachThread()
  const counters = new FuseCounters(data.counters)
  const server = new FuseServer(fileSystem, new FakeWindow(0), session, counters)
  const planes = new BothPlanes(data.directory, server)
  const channel = new FakeChannel(BUFFER_BYTES)
  const buffer = Buffer.alloc(BUFFER_BYTES)
  for (;;) {
    let length: number
    try {
      length = fs.readSync(data.device, buffer)
    } catch (error) {
      // An interrupted request is simply gone.
      if (isErrno(error, 'ENOENT', 'EINTR', 'EAGAIN')) continue
      if (isErrno(error, 'ENODEV')) return
      throw error
    }
    const message = buffer.subarray(0, length)
    const opcode = message.readUInt32LE(FuseInHeader.opcode)
    const silent = opcode === FuseOpcode.FORGET || opcode === FuseOpcode.BATCH_FORGET
    if (data.farOffsets) askNearOffset(message)
    channel.load(message, silent ? 0 : BUFFER_BYTES)
    // Both planes' requests are counted by the thread that served them.
    if (planes.handle(channel)) counters.countRequest(opcode)
    const { completion } = channel
    if (completion === null || completion === undefined) continue
    if (data.farOffsets) tellFarOffsets(opcode, completion)
    const header = Buffer.alloc(FuseOutHeader.SIZE)
    header.writeUInt32LE(FuseOutHeader.SIZE + completion.body.length, FuseOutHeader.len)
    header.writeInt32LE(completion.error, FuseOutHeader.error)
    message.copy(header, FuseOutHeader.unique, FuseInHeader.unique, FuseInHeader.unique + 8)
    try {
      fs.writevSync(data.device, completion.body.length > 0 ? [header, completion.body] : [header])
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error
    }
  }
}

function main(): void {
  const [directory, mountPoint, json = '{}', threads = '1', offsets] = process.argv.slice(2)
  if (directory === undefined || mountPoint === undefined) throw new Error('which directory, and where to?')
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a test's own argument
  const options = JSON.parse(json) as Partial<PassthroughOptions>
  const device = fs.openSync('/dev/fuse', 'r+')
  const shared = createSharedDirectory(directory, options)
  const mount = ['fd=3,rootmode=40000,user_id=0,group_id=0', 'default_permissions,allow_other'].join()
  execFileSync('mount', ['-i', '-t', 'fuse', '-o', mount, 'viewfsd', mountPoint], {
    stdio: ['ignore', 'inherit', 'inherit', device],
  })
  const session = FuseSession.allocate()
  const counters = Array.from({ length: Number(threads) }, () => FuseCounters.allocate())
  const workers = counters.map((own) => {
    const farOffsets = offsets === 'far-offsets'
    const data: ThreadData = { device, directory: shared, session, counters: own, options, farOffsets }
    return new Worker(new URL(import.meta.url), { workerData: data })
  })
  process.on('SIGUSR1', () => process.stdout.write(`${JSON.stringify(FuseCounters.sum(counters, NOTHING_SERVED))}\n`))
  process.stdout.write(`ready ${workers.length}\n`)
}

if (isMainThread) main()
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- from main
else serve(workerData as ThreadData)
