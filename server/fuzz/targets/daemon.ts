// SPDX-License-Identifier: Apache-2.0
/**
 * The whole daemon over its socket, with two drivers at work at the same time: one on the hiprio and the first request
 * queue that lies in rings, descriptors and requests, and changes them while they are read; and an honest one on another
 * queue, which must get the right answers throughout. Afterwards the hostile queues are stopped and started anew.
 */
import fs from 'node:fs'
import path from 'node:path'
import { testing } from '../../../native/testing/index.ts'
import { Daemon, makeScratch, removeScratch } from '../../integration/harness/daemon.ts'
import { Frontend } from '../../integration/harness/frontend.ts'
import { InitFlag } from '../../integration/harness/fuse-abi.ts'
import { FuseClient, GUEST_INIT_FLAGS } from '../../integration/harness/fuse-client.ts'
import { FuseTransport } from '../../integration/harness/fuse-transport.ts'
import { GuestMemory } from '../../integration/harness/guest-memory.ts'
import { Feature, packVringState, Request } from '../../integration/harness/vhost-user.ts'
import { DescriptorFlag, VirtqueueDriver } from '../../integration/harness/virtqueue-driver.ts'
import { FuseOpcode, FuseOutHeader } from '../../fuse/abi.ts'
import { Random } from '../engine/random.ts'
import { type Script, splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'
import { type FuseRequest, type Known, learn, nextRequest } from './fuse-grammar.ts'
import { removeChildren } from './remove-children.ts'

/** Programs that one daemon serves; it must end well after each such life. */
const PROGRAMS_A_LIFE = 100
const RING_SIZE = 64
const AREAS = 8
const AREA_BYTES = 16 * 1024
const CANARY_BYTES = 256 * 1024
const ONE_BYTE = 256
const HONEST_BYTES = 64 * 1024
const FILL = 0xee
/** A request that waits for a lock is not waited for. */
const PATIENCE_MS = 20

/** One daemon, its frontend and the guest. */
interface Life {
  readonly daemon: Daemon
  readonly frontend: Frontend
  readonly memory: GuestMemory
  readonly hostile: readonly [VirtqueueDriver, VirtqueueDriver]
  readonly honest: VirtqueueDriver
  readonly client: FuseClient
  readonly file: { readonly nodeid: bigint; readonly parent: bigint; readonly fh: bigint }
  readonly arena: number
  readonly canary: number
  readonly descriptors: number
}

export class DaemonTarget implements Target {
  readonly name = 'daemon'
  readonly #scratch = makeScratch()
  readonly #contents = Buffer.from(new Random(1).bytes(HONEST_BYTES))
  readonly #outside: string
  #life: Life | undefined
  #programs = 0

  constructor() {
    const at = (...names: string[]): string => path.join(this.#scratch, ...names)
    fs.mkdirSync(at('outside'))
    fs.writeFileSync(at('outside', 'secret'), 'secret')
    fs.mkdirSync(at('share', 'honest'), { recursive: true })
    fs.writeFileSync(at('share', 'honest', 'file'), this.#contents)
    this.#outside = this.#describeOutside()
  }

  /** The code under test runs in another process: outcomes alone guide. */
  covers(): boolean {
    return false
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    if (this.#programs++ % PROGRAMS_A_LIFE === 0) await this.#endLife()
    this.#life ??= await this.#startLife()
    this.#fill()
    const outcomes = new Performance(this.#life, this.#contents).play(splitProgram(program).steps)
    this.#check(this.#life)
    return outcomes
  }

  async close(): Promise<void> {
    await this.#endLife()
    removeScratch(this.#scratch)
  }

  async #startLife(): Promise<Life> {
    const args = ['--window-size=64M', '--xattr', '--posix-locks', '--flocks', '--killpriv-v2', '--rlimit-nofile=2048']
    const env = { NODE_OPTIONS: process.env['NODE_OPTIONS'] ?? '' }
    const daemon = new Daemon(this.#scratch, { args, env, window: 'shmem' })
    const features = Feature.VERSION_1 | Feature.RING_INDIRECT_DESC
    const frontend = new Frontend(await daemon.connect(), { features })
    frontend.realize(3)
    const memory = new GuestMemory([{ gpa: 0, sizeBytes: 8 << 20 }])
    const makeQueue = (index: number): VirtqueueDriver =>
      new VirtqueueDriver(memory, index, RING_SIZE, { eventIdx: false, indirect: true })
    const [hiprio, first, honest] = [makeQueue(0), makeQueue(1), makeQueue(2)]
    const client = new FuseClient(new FuseTransport(frontend, memory, [honest]))
    frontend.start(memory, [hiprio, first, honest])
    client.init(GUEST_INIT_FLAGS | InitFlag.MAP_ALIGNMENT)
    // Numbers of one byte are used up first: a byte of a FORGET or RELEASE that changes while it is read would hit them, and the
    // guest has forgotten then what the honest driver goes on to use.
    for (let i = 0; i < ONE_BYTE; i++) client.mkdir(1n, `d${i}`)
    for (let i = 0; i < ONE_BYTE; i++) fs.rmdirSync(path.join(this.#scratch, 'share', `d${i}`))
    const { nodeid: parent } = client.lookup(1n, 'honest')
    const { nodeid } = client.lookup(parent, 'file')
    for (let i = 0; i < ONE_BYTE; i++) client.open(nodeid, 0)
    const file = { parent, nodeid, fh: client.open(nodeid, 0) }
    const arena = memory.allocate(AREAS * AREA_BYTES)
    const canary = memory.allocate(CANARY_BYTES)
    memory.bytes(canary, CANARY_BYTES).fill(FILL)
    const descriptors = daemon.openFiles
    return { daemon, frontend, memory, hostile: [hiprio, first], honest, client, file, arena, canary, descriptors }
  }

  async #endLife(): Promise<void> {
    const life = this.#life
    if (life === undefined) return
    this.#life = undefined
    const { daemon, frontend, memory, hostile, honest, client } = life
    client.transport.call(FuseOpcode.DESTROY, 0n)
    // All that the guest had has been given up: what is left is what the daemon started with.
    const left = daemon.openFiles
    if (left > life.descriptors) throw new Error(`${left} descriptors after DESTROY, ${life.descriptors} before`)
    frontend.close()
    const exit = await daemon.exit()
    for (const queue of [...hostile, honest]) queue.close()
    memory.close()
    if (exit.code !== 0) throw new Error(`the daemon ended with ${JSON.stringify(exit)}\n${daemon.log.slice(-4000)}`)
  }

  #check({ daemon, memory, canary }: Life): void {
    const log = daemon.log
    const fault = /serving a request failed|a bug in viewfsd|a queue thread failed|Sanitizer|runtime error/.exec(log)
    if (fault !== null || !daemon.alive) throw new Error(`the daemon's log:\n${log.slice(-4000)}`)
    if (memory.bytes(canary, CANARY_BYTES).some((byte) => byte !== FILL)) throw new Error('the canary has changed')
    const outside = this.#describeOutside()
    if (outside !== this.#outside) throw new Error(`outside of the directory something has changed: ${outside}`)
  }

  #describeOutside(): string {
    const directory = path.join(this.#scratch, 'outside')
    const secret = path.join(directory, 'secret')
    const { mode, uid, gid, nlink, ctimeMs, mtimeMs } = fs.statSync(secret)
    const names = [fs.readdirSync(directory), fs.statSync(directory).ctimeMs]
    return JSON.stringify([names, mode, uid, gid, nlink, ctimeMs, mtimeMs, fs.readFileSync(secret, 'utf8')])
  }

  #fill(): void {
    const at = (name: string): string => path.join(this.#scratch, 'share', name)
    removeChildren(at(''), ['honest'])
    fs.writeFileSync(at('a'), 'the contents of a file')
    fs.mkdirSync(at('d'))
    fs.symlinkSync('../outside', at('up'))
  }
}

/** One program. */
class Performance {
  readonly #life: Life
  readonly #contents: Buffer
  readonly #known: Known = { nodeids: [1], handles: [] }
  readonly #outcomes: number[] = []
  #area = 0
  /** Whether all chains so far have been well-formed. */
  #truthful = true

  constructor(life: Life, contents: Buffer) {
    this.#life = life
    this.#contents = contents
  }

  play(steps: readonly Script[]): number[] {
    for (const step of steps) {
      const kind = step.byte()
      const queue = this.#life.hostile[kind % 8 === 0 ? 0 : 1]
      if (kind < 170) this.#request(queue, step, kind >= 140)
      else if (kind < 240) this.#lie(queue, step)
      else this.#askHonestly()
    }
    this.#askHonestly()
    this.#restart()
    this.#askHonestly()
    return this.#outcomes
  }

  #restart(): void {
    const { frontend, hostile } = this.#life
    for (const queue of hostile) {
      // Answered only when the daemon has let go of the ring.
      frontend.getVringBase(queue.index)
      queue.reset()
      frontend.startVring(queue, 0)
      frontend.sendAcked(Request.SET_VRING_ENABLE, packVringState(queue.index, 1))
    }
  }

  /** What the honest driver asks, and knows the answer to. */
  #askHonestly(): void {
    const { client, file } = this.#life
    const offset = (this.#area * 4096) % HONEST_BYTES
    const data = client.read(file.nodeid, file.fh, offset, 8192)
    if (!this.#contents.subarray(offset, offset + 8192).equals(data))
      throw new Error('the honest guest read wrong data')
    if (client.getattr(file.nodeid).size !== HONEST_BYTES) throw new Error('the honest guest got a wrong size')
    const again = client.lookup(file.parent, 'file').nodeid
    if (again !== file.nodeid) throw new Error(`the honest guest was told nodeid ${again}`)
  }

  /** A FUSE request of any kind in a chain as it should be; `scribble`: it is changed while it is served. */
  #request(queue: VirtqueueDriver, step: Script, scribble: boolean): void {
    const request = nextRequest(step, this.#known)
    // They end the session of the honest queue, too.
    if (request.opcode === FuseOpcode.INIT || request.opcode === FuseOpcode.DESTROY) return
    const { memory, arena } = this.#life
    this.#area = (this.#area + 1) % AREAS
    const input = arena + this.#area * AREA_BYTES
    const output = input + AREA_BYTES / 2
    const message = request.message.subarray(0, AREA_BYTES / 2)
    memory.bytes(input, message.length).set(message)
    memory.bytes(output, AREA_BYTES / 2).fill(FILL)
    const head = 2 * this.#area
    const replies = request.replyCapacity > 0
    queue.writeDescriptor(head, BigInt(input), message.length, replies ? DescriptorFlag.NEXT : 0, head + 1)
    queue.writeDescriptor(head + 1, BigInt(output), request.replyCapacity, DescriptorFlag.WRITE, 0)
    const before = queue.usedIndex()
    queue.publish(head)
    testing.eventfdWrite(queue.kickFd)
    if (scribble) this.#scribble(queue, input, head, step)
    this.#await(queue, before)
    if (replies && queue.usedIndex() !== before) this.#take(request, output)
  }

  #scribble(queue: VirtqueueDriver, input: number, head: number, step: Script): void {
    this.#truthful = false
    const { memory } = this.#life
    const random = new Random(step.word())
    const bytes = memory.bytes(input, 256)
    for (let i = 0; i < 2000; i++) {
      const place = random.below(256)
      if (i % 4 === 0) {
        const length = [0, 16, 40, 80, 8192, 0xffff_ffff][random.below(6)] ?? 0
        queue.writeDescriptor(head + random.below(2), BigInt(input), length, random.below(8), random.below(RING_SIZE))
      } else {
        bytes[place] = random.below(256)
      }
    }
  }

  #await(queue: VirtqueueDriver, before: number): void {
    const fds = Int32Array.of(queue.callFd, queue.errorFd)
    const revents = new Int16Array(2)
    if (queue.usedIndex() === before) testing.poll(fds, revents, PATIENCE_MS)
    testing.eventfdRead(queue.callFd)
    if (testing.eventfdRead(queue.errorFd) > 0) this.#outcomes.push(-1 - queue.index)
  }

  #take(request: FuseRequest, output: number): void {
    const room = this.#life.memory.bytes(output, AREA_BYTES / 2)
    const view = new DataView(room.buffer, room.byteOffset, room.length)
    const length = view.getUint32(FuseOutHeader.len, true)
    const error = view.getInt32(FuseOutHeader.error, true)
    if (!this.#truthful) return
    if (request.replyCapacity < FuseOutHeader.SIZE) {
      if (room.some((byte) => byte !== FILL)) throw new Error('a reply where there was no room for one')
      return
    }
    if (room[0] === FILL) return
    if (length > request.replyCapacity || error > 0) throw new Error(`a reply of ${length} bytes, error ${error}`)
    if (error !== 0 && length !== FuseOutHeader.SIZE) throw new Error('an error with a body')
    // A read that failed may have brought data before.
    const touched = request.opcode === FuseOpcode.READ ? request.replyCapacity : length
    if (room.subarray(touched).some((byte) => byte !== FILL)) throw new Error('bytes behind the end of a reply')
    this.#outcomes.push(request.opcode * 8192 - error)
    if (error === 0) learn(request, room.slice(FuseOutHeader.SIZE, length), this.#known)
  }

  #address(step: Script): bigint {
    const { arena } = this.#life
    const kind = step.byte()
    if (kind < 200) return BigInt(arena + ((step.byte() << 6) % (AREAS * AREA_BYTES)))
    if (kind < 230) return BigInt((8 << 20) - step.byte())
    return [0n, 8n << 20n, (1n << 64n) - 16n, step.long()][kind % 4] ?? 0n
  }

  /** The last request once more, in a chain that is in order but for its buffers. */
  #lyingChain(queue: VirtqueueDriver, step: Script): void {
    const { NEXT, WRITE } = DescriptorFlag
    const input = this.#life.arena + this.#area * AREA_BYTES
    const head = step.below(RING_SIZE - 4)
    queue.writeDescriptor(head, BigInt(input), 1 + step.byte(), NEXT, head + 1)
    queue.writeDescriptor(head + 1, this.#address(step), lengthOf(step), NEXT, head + 2)
    queue.writeDescriptor(head + 2, this.#address(step), lengthOf(step), WRITE | (step.byte() & 1), head + 3)
    queue.writeDescriptor(head + 3, this.#address(step), lengthOf(step), WRITE, 0)
    queue.publish(head)
  }

  #lie(queue: VirtqueueDriver, step: Script): void {
    this.#truthful = false
    const { memory } = this.#life
    const before = queue.usedIndex()
    switch (step.below(8)) {
      case 0: {
        const length = lengthOf(step)
        queue.writeDescriptor(step.below(RING_SIZE), this.#address(step), length, step.below(8), step.below(80))
        return
      }
      case 1:
        queue.publish(step.byte() < 200 ? step.below(RING_SIZE) : step.word() & 0xffff)
        break
      case 2:
        queue.setAvailableIndex(queue.availableIndex + step.byte() - 64)
        break
      case 3: {
        const table = this.#life.arena + step.below(AREAS) * AREA_BYTES
        for (let i = 0; i < 4; i++) {
          queue.writeDescriptorAt(table + 16 * i, this.#address(step), step.byte() << 3, step.below(8), step.below(6))
        }
        queue.writeDescriptor(0, BigInt(table), step.byte() < 200 ? 64 : step.byte(), DescriptorFlag.INDIRECT, 0)
        queue.publish(0)
        break
      }
      case 4:
      case 5:
        this.#lyingChain(queue, step)
        break
      case 6: {
        const bytes = step.take(8)
        memory.bytes(this.#life.arena + (step.byte() << 8), 8).set(bytes)
        return
      }
      default:
    }
    testing.eventfdWrite(queue.kickFd)
    this.#await(queue, before)
  }
}

/** Of a buffer: small, up to a MiB, or any. */
function lengthOf(step: Script): number {
  const kind = step.byte()
  return kind < 100 ? step.byte() << 4 : kind < 230 ? step.byte() << 12 : step.word()
}
