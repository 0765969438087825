// SPDX-License-Identifier: Apache-2.0
/** A small QMP client (QEMU's docs/interop/qmp-spec): commands one at a time, events as they come. */
import { EventEmitter } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

type Json = Record<string, unknown>

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Connects to a UNIX socket that may not exist yet; gives up after `timeoutMs`. */
export async function connectPatiently(path: string, timeoutMs: number): Promise<Socket> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path)
        socket.once('connect', () => resolve(socket))
        socket.once('error', reject)
      })
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`nothing listens on ${path}`, { cause: error })
      await sleep(50)
    }
  }
}

/** Emits `event` with the event's name and data. */
export class Qmp extends EventEmitter {
  readonly #socket: Socket
  #buffer = ''
  #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = []

  private constructor(socket: Socket) {
    super()
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#receive(text))
    const fail = () => {
      for (const waiter of this.#waiting.splice(0)) waiter.reject(new Error('QEMU closed its QMP socket'))
    }
    socket.on('close', fail)
    socket.on('error', fail)
  }

  /** Connects and leaves capabilities negotiation behind. */
  static async connect(path: string, timeoutMs = 30_000): Promise<Qmp> {
    const qmp = new Qmp(await connectPatiently(path, timeoutMs))
    await qmp.command('qmp_capabilities')
    return qmp
  }

  #receive(text: string): void {
    this.#buffer += text
    for (let end = this.#buffer.indexOf('\n'); end >= 0; end = this.#buffer.indexOf('\n')) {
      const line = this.#buffer.slice(0, end)
      this.#buffer = this.#buffer.slice(end + 1)
      const message: unknown = JSON.parse(line)
      if (!isObject(message) || 'QMP' in message) continue
      if ('event' in message) {
        this.emit('event', message['event'], message['data'])
        continue
      }
      const waiter = this.#waiting.shift()
      if ('error' in message) waiter?.reject(new Error(`QMP: ${JSON.stringify(message['error'])}`))
      else waiter?.resolve(message['return'])
    }
  }

  /** Runs a QMP command and gives what it returns. */
  command(name: string, args?: Json): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#socket.write(
        `${JSON.stringify(args === undefined ? { execute: name } : { execute: name, arguments: args })}\n`,
      )
    })
  }

  /** Runs a command of the human monitor. */
  async hmp(line: string): Promise<string> {
    return String(await this.command('human-monitor-command', { 'command-line': line }))
  }

  close(): void {
    this.#socket.destroy()
  }
}
