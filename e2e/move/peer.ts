// SPDX-License-Identifier: Apache-2.0
/** Two nested hosts that tell each other, over the cable between them, how far they have come: lines of JSON on a TCP connection. */
import { createConnection, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const PORT = 7000
/** The other one may still boot. */
const TIMEOUT_MS = 600_000

interface Message {
  readonly what: string
  readonly value: unknown
}

async function accepted(): Promise<Socket> {
  const server = createServer()
  const socket = new Promise<Socket>((resolve) => server.once('connection', resolve))
  server.listen(PORT)
  try {
    return await Promise.race([socket, sleep(TIMEOUT_MS).then(() => Promise.reject(new Error('nobody has called')))])
  } finally {
    server.close()
  }
}

async function connected(address: string): Promise<Socket> {
  const deadline = Date.now() + TIMEOUT_MS
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = createConnection(PORT, address)
        socket.once('connect', () => resolve(socket))
        socket.once('error', reject)
      })
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${address} does not listen`, { cause: error })
      await sleep(200)
    }
  }
}

export class Peer {
  readonly #socket: Socket
  readonly #messages: AsyncIterator<string>
  readonly #gone: Promise<never>

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#gone = new Promise<never>((_, reject) => {
      socket.once('close', () => reject(new Error('the other host has gone')))
    })
    this.#gone.catch(() => {})
    socket.on('error', () => {})
    this.#messages = createInterface(socket)[Symbol.asyncIterator]()
  }

  /** Waits for the other one to call. */
  static async listen(): Promise<Peer> {
    return new Peer(await accepted())
  }

  static async call(address: string): Promise<Peer> {
    return new Peer(await connected(address))
  }

  tell(what: string, value: unknown = null): void {
    this.#socket.write(`${JSON.stringify({ what, value } satisfies Message)}\n`)
  }

  /** Waits for the next message, which has to be this one; gives what came with it. */
  async hear(what: string): Promise<unknown> {
    const { value: line, done } = await this.#messages.next()
    if (done) throw new Error(`the other host has gone, where it should have said: ${what}`)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- from tell
    const message = JSON.parse(line) as Message
    if (message.what !== what)
      throw new Error(`the other host says "${message.what}", where it should have said: ${what}`)
    return message.value
  }

  /** Waits for `work`, unless the other one goes meanwhile. */
  during<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#gone])
  }

  close(): void {
    this.#socket.end()
  }
}
