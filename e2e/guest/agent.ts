// SPDX-License-Identifier: Apache-2.0
/**
 * Runs shell scripts in a guest through a virtio-serial port. guest-init.sh is the other side:
 *
 *   guest: "@@READY <token>\n"   host: "<number> " base64(script) "\n"
 *   guest: output ... "\n@@DONE <token> <number> <status>\n"
 *
 * The number keeps a late answer to a script that was given up from passing for the answer to the next one.
 */
import type { Socket } from 'node:net'

export interface ScriptResult {
  readonly status: number
  readonly output: string
}

export class Agent {
  readonly #socket: Socket
  readonly #token: string
  #text = ''
  #number = 0
  #wake: (() => void) | undefined
  #closed = false
  /** Sees everything the guest sends, as it comes. */
  onText: ((text: string) => void) | undefined

  constructor(socket: Socket, token: string) {
    this.#socket = socket
    this.#token = token
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      this.#text += text
      this.onText?.(text)
      this.#wake?.()
    })
    const close = () => {
      this.#closed = true
      this.#wake?.()
    }
    socket.on('close', close)
    socket.on('error', close)
  }

  async #until(pattern: RegExp, what: string, timeoutMs: number): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const match = pattern.exec(this.#text)
      if (match !== null) {
        this.#text = this.#text.slice(match.index + match[0].length)
        return match
      }
      const left = deadline - Date.now()
      if (this.#closed) throw new Error(`${what}: the guest is gone; its last words: ${this.#text.slice(-2000)}`)
      if (left <= 0) throw new Error(`${what}: no answer in ${timeoutMs / 1000} s; so far: ${this.#text.slice(-2000)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
  }

  /** Waits for the guest's agent to start (again). */
  async ready(timeoutMs: number): Promise<void> {
    await this.#until(new RegExp(`@@READY ${this.#token}\r?\n`), 'booting the guest', timeoutMs)
  }

  /** Runs a script with /bin/sh in the guest; its standard output and error come back together. The limit means a hang. */
  async run(script: string, timeoutMs = 600_000): Promise<ScriptResult> {
    const number = this.#send(script)
    const what = `"${script.slice(0, 80).replaceAll('\n', '; ')}" in the guest`
    const done = await this.#until(new RegExp(`([^]*?)\n@@DONE ${this.#token} ${number} (\\d+)\n`), what, timeoutMs)
    return { output: done[1] ?? '', status: Number(done[2]) }
  }

  /** Sends a script and does not wait for its end (it reboots, say). */
  post(script: string): void {
    this.#send(script)
  }

  #send(script: string): number {
    this.#number++
    this.#socket.write(`${this.#number} ${Buffer.from(`${script}\n`).toString('base64')}\n`)
    return this.#number
  }

  close(): void {
    this.#socket.destroy()
  }
}
