// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket: lines that are commands, nearly so, or not at all, cut anywhere, from several peers that read or don't.
 * Whatever comes, each reply is one line of JSON that says whether it is ok, the log has no failure, and no descriptor stays open.
 */
import fs, { closeSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { listenUnix, receiveWithFds, sendWithFds } from '../../../native/index.ts'
import { testing } from '../../../native/testing/index.ts'
import { PLAIN_COMMANDS } from '../../control/command.ts'
import { controlProtocol } from '../../control/control-protocol.ts'
import { MAX_MESSAGE_BYTES } from '../../control/peer-connection.ts'
import { PeerServer } from '../../control/peer-server.ts'
import { FILES, LATENCIES, METRICS, STATUS } from '../../control/testing.ts'
import { LOG_LEVELS } from '../../options/table.ts'
import { type Script, splitProgram } from '../engine/script.ts'
import type { Target } from '../engine/target.ts'

const PEERS = 3
const WORDS = [...PLAIN_COMMANDS, 'log-level', 'level', 'forget', 'path', '/mnt', 'command', ...LOG_LEVELS]
const REQUEST = {
  opcode: 'READ',
  nodeid: 5,
  path: '/a',
  queueThread: 0,
  since: '2026-01-01T00:00:00.000Z',
  milliseconds: 7,
}

export class ControlTarget implements Target {
  readonly name = 'control'
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'control-'))
  #descriptors: number | undefined

  covers(url: string): boolean {
    return /\/server\/control\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    const { steps } = splitProgram(program)
    const outcomes: number[] = []
    const socket = path.join(this.#directory, 'socket')
    const subject = {
      status: () => STATUS,
      requests: async () => [REQUEST],
      counters: () => METRICS,
      latencies: () => LATENCIES,
      files: async () => {
        await turn()
        return FILES
      },
      forget: async (where: string) => {
        await turn()
        return where.length % 2 === 0 ? -(where.length % 40) - 1 : { inodes: 1, handles: 2, ranges: 0 }
      },
      upgrade: () => false,
      setLogLevel: (level: (typeof LOG_LEVELS)[number]) => {
        outcomes.push(1000 + LOG_LEVELS.indexOf(level))
      },
    }
    const server = new PeerServer(listenUnix(socket), controlProtocol(subject, { error: fail }))
    const peers = new Map<number, Peer>()
    for (const step of steps) {
      const index = step.below(PEERS)
      let peer = peers.get(index)
      if (peer === undefined) {
        const [ours, theirs] = testing.socketPair()
        server.adopt(theirs)
        peer = new Peer(ours)
        peers.set(index, peer)
      }
      peer.send(step)
      if (step.byte() < 128) await turn()
      if (step.byte() < 128) peer.receive(outcomes)
    }
    for (const peer of peers.values()) {
      while (!peer.sendEnd() && !peer.receive(outcomes)) await turn()
      while (!peer.receive(outcomes)) await turn()
      peer.close()
    }
    server.close()
    const descriptors = fs.readdirSync('/proc/self/fd').length
    // What ran before in this process may still have closed some.
    this.#descriptors = Math.min(this.#descriptors ?? descriptors, descriptors)
    if (descriptors !== this.#descriptors) throw new Error(`${descriptors} descriptors, not ${this.#descriptors}`)
    return outcomes
  }

  close(): Promise<void> {
    rmSync(this.#directory, { recursive: true })
    return Promise.resolve()
  }
}

function fail(error: object): never {
  throw new Error('a command failed', { cause: error })
}

class Peer {
  readonly #fd: number
  readonly #chunks: Uint8Array[] = []
  #end = MAX_MESSAGE_BYTES + 1

  constructor(fd: number) {
    this.#fd = fd
  }

  send(step: Script): void {
    const fds = step.byte() < 230 ? [] : [testing.eventfd()]
    const text = line(step)
    const cut = step.byte() < 200 ? text.length : step.below(Math.max(1, Math.min(256, text.length)))
    sendWithFds(this.#fd, text.subarray(0, cut), fds)
    if (cut < text.length) sendWithFds(this.#fd, text.subarray(cut), [])
    for (const fd of fds) closeSync(fd)
  }

  /** A line that is too long, after which nothing more is served. @returns whether all of it could be sent */
  sendEnd(): boolean {
    const left = this.#end - sendableBytes(this.#fd, this.#end)
    this.#end = left
    return left === 0
  }

  /** Whole replies of what has come. @returns whether the server has hung up */
  receive(outcomes: number[]): boolean {
    let over = false
    while (!over) {
      const chunk = new Uint8Array(65536)
      const fds: number[] = []
      const got = receiveWithFds(this.#fd, chunk, 0, chunk.length, fds)
      if (fds.length > 0) throw new Error('a reply with descriptors')
      if (got === -constants.errno.EAGAIN) break
      over = got <= 0
      if (over) break
      this.#chunks.push(chunk.subarray(0, got))
    }
    const bytes = Buffer.concat(this.#chunks)
    const end = bytes.lastIndexOf(10) + 1
    this.#chunks.splice(0, this.#chunks.length, bytes.subarray(end))
    for (const reply of bytes.subarray(0, end).toString().split('\n').slice(0, -1)) outcomes.push(judge(reply))
    return over
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Sends up to `count` bytes that belong to no line. @returns how many; all of them where nobody takes any more */
function sendableBytes(fd: number, count: number): number {
  const sent = sendWithFds(fd, new Uint8Array(count).fill(32), [])
  return sent >= 0 ? sent : sent === -constants.errno.EAGAIN ? 0 : count
}

/** @returns a number for the kind of reply */
function judge(reply: string): number {
  const value: unknown = JSON.parse(reply)
  if (typeof value !== 'object' || value === null || !('ok' in value)) throw new Error(`not a reply: ${reply}`)
  if (value.ok === true && 'result' in value) return Object.keys(Object(value.result)).length
  if (value.ok !== false || !('error' in value) || typeof value.error !== 'string') throw new Error(`neither: ${reply}`)
  if (value.error.includes('viewfsd')) throw new Error(`an error of its own: ${reply}`)
  return 2000 + value.error.length
}

function line(step: Script): Uint8Array {
  const kind = step.byte()
  const end = step.byte() < 240 ? '\n' : ''
  if (kind < 100) return encode(`{"command":"${step.pick(WORDS)}"}${end}`)
  if (kind < 150) return encode(`{"command":"log-level","level":"${step.pick(WORDS)}"}${end}`)
  if (kind < 165) return encode(`{"command":"forget","path":"${step.pick(WORDS)}"}${end}`)
  if (kind < 180)
    return encode(`{"${step.pick(WORDS)}":"${step.pick(WORDS)}","${step.pick(WORDS)}":${step.word()}}${end}`)
  if (kind < 200) return encode(`${'['.repeat(step.byte() * 20)}${end}`)
  if (kind < 215) return encode('\n'.repeat(step.byte()))
  const bytes = step.take(step.below(24))
  return new Uint8Array(Buffer.concat([bytes, encode(end)]))
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
