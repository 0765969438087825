// SPDX-License-Identifier: Apache-2.0
/** Asks a daemon over its control socket. */
import { connect, type Socket } from 'node:net'
import { createInterface, type Interface } from 'node:readline'

export class ControlClient {
  readonly #socket: Socket
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#reader = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY })
    this.#lines = this.#reader[Symbol.asyncIterator]()
  }

  /** @throws an Error that names the socket and the reason */
  static async open(path: string): Promise<ControlClient> {
    const socket = connect(path)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', (error) => reject(new Error(`${path}: ${explain(error)}`, { cause: error })))
    })
    return new ControlClient(socket)
  }

  /** @throws an Error with what the daemon says, or where it has gone */
  async ask(command: Readonly<Record<string, string>>): Promise<unknown> {
    this.#socket.write(`${JSON.stringify(command)}\n`)
    const line = await this.#lines.next()
    if (line.done === true) throw new Error('the daemon has hung up')
    const reply: unknown = JSON.parse(line.value)
    if (typeof reply !== 'object' || reply === null || !('ok' in reply)) throw new Error('not an answer of viewfsd')
    if (reply.ok !== true) throw new Error('error' in reply ? String(reply.error) : 'refused')
    return 'result' in reply ? reply.result : undefined
  }

  close(): void {
    this.#reader.close()
    this.#socket.destroy()
  }
}

function explain(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'no such socket: is the daemon running, and not with --control=none?'
  if (error.code === 'ECONNREFUSED') return 'nobody listens: the daemon that had it has gone'
  if (error.code === 'EACCES') return 'only the user that has started the daemon may connect, or root'
  return error.message
}
