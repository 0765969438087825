// SPDX-License-Identifier: Apache-2.0
/**
 * A real file system that misbehaves on demand: a FUSE mount over a directory, served by a process of its own, which
 * fails, stalls or shortens operations as it is told. Paths in rules begin with a slash and count from the mount point.
 *
 * The kernel keeps what it has read, names and attributes for a second, pages until the file is opened again: open a
 * file before it shall be read from here.
 *
 * Needs root, /dev/fuse, libfuse.so.2 and the built dist/.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'

export type Operation =
  | 'getattr'
  | 'readdir'
  | 'readlink'
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'flush'
  | 'fsync'
  | 'release'
  | 'truncate'
  | 'utimens'
  | 'chmod'
  | 'chown'
  | 'unlink'
  | 'rename'
  | 'link'
  | 'symlink'
  | 'mkdir'
  | 'rmdir'
  | 'statfs'

interface RuleBase {
  readonly id: number
  readonly operation: Operation
  /** All paths where it is not given. */
  readonly path?: string
  /** How many operations it applies to; all where it is not given. */
  readonly times?: number
}
export type Rule =
  | (RuleBase & { readonly kind: 'fail'; readonly errno: number })
  | (RuleBase & { readonly kind: 'stall' })
  | (RuleBase & { readonly kind: 'shorten'; readonly length: number })

/** To the process. */
export type Order = { readonly id: number } & (
  | { readonly type: 'add'; readonly rule: Rule }
  | { readonly type: 'remove'; readonly rule: number }
  | { readonly type: 'count' }
)
/** From the process. */
export type Report =
  | { readonly type: 'ready' }
  | { readonly type: 'hit'; readonly rule: number }
  | { readonly type: 'done'; readonly order: number; readonly counts: Readonly<Record<string, number>> }

export interface Where {
  /** For example '/file'. */
  path?: string
  times?: number
}

/** A rule in force. */
export class Misbehaviour {
  readonly #fileSystem: MisbehavingFs
  readonly #id: number
  #hits = 0
  readonly #waiting: { hits: number; resolve: () => void }[] = []

  constructor(fileSystem: MisbehavingFs, id: number) {
    this.#fileSystem = fileSystem
    this.#id = id
  }

  /** Operations that it has applied to so far. */
  get hits(): number {
    return this.#hits
  }

  /** Waits until it has applied to that many operations. */
  async hit(hits = 1): Promise<void> {
    if (this.#hits >= hits) return
    await new Promise<void>((resolve) => {
      this.#waiting.push({ hits, resolve })
    })
  }

  /** Ends it; what it stalls goes on. */
  async end(): Promise<void> {
    await this.#fileSystem.removeRule(this.#id)
  }

  /** For MisbehavingFs. */
  count(): void {
    this.#hits++
    for (const { hits, resolve } of this.#waiting) if (this.#hits >= hits) resolve()
  }
}

/** Built, whether this module is or not. */
const PROGRAM = path.resolve(
  import.meta.dirname.replace(/\/dist(?=\/server\/integration$)/, ''),
  '../../dist/server/integration/misbehaving-fs-process.js',
)

export class MisbehavingFs {
  /** The directory behind it: what is changed here, the kernel does not learn of by itself. */
  readonly backing: string
  readonly mountPoint: string
  readonly #process: ChildProcess
  readonly #rules = new Map<number, Misbehaviour>()
  readonly #orders = new Map<number, (counts: Readonly<Record<string, number>>) => void>()
  #nextId = 1

  private constructor(backing: string, mountPoint: string, process: ChildProcess) {
    this.backing = backing
    this.mountPoint = mountPoint
    this.#process = process
    process.on('message', (report: Report) => {
      if (report.type === 'hit') this.#rules.get(report.rule)?.count()
      if (report.type === 'done') this.#orders.get(report.order)?.(report.counts)
    })
  }

  /** Mounts `backing` at `mountPoint`; both exist. */
  static async mount(backing: string, mountPoint: string): Promise<MisbehavingFs> {
    const child = fork(PROGRAM, [backing, mountPoint], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const failed = once(child, 'exit').then(() => {
      throw new Error('the misbehaving file system did not start')
    })
    await Promise.race([once(child, 'message'), failed])
    failed.catch(() => {})
    return new MisbehavingFs(backing, mountPoint, child)
  }

  /** A path below the mount point. */
  at(...names: string[]): string {
    return path.join(this.mountPoint, ...names)
  }

  /** Lets operations fail with a positive errno. */
  async fail(operation: Operation, errno: number, where: Where = {}): Promise<Misbehaviour> {
    return await this.#add({ kind: 'fail', id: this.#nextId++, operation, errno, ...where })
  }

  /** Lets operations hang until the rule ends. */
  async stall(operation: Operation, where: Where = {}): Promise<Misbehaviour> {
    return await this.#add({ kind: 'stall', id: this.#nextId++, operation, ...where })
  }

  /** Lets reads or writes do `length` bytes at most. */
  async shorten(operation: 'read' | 'write', length: number, where: Where = {}): Promise<Misbehaviour> {
    return await this.#add({ kind: 'shorten', id: this.#nextId++, operation, length, ...where })
  }

  /** Truncates a file behind the kernel's back, as another machine would on a network file system. */
  truncateBehind(name: string, size: number): void {
    fs.truncateSync(path.join(this.backing, name), size)
  }

  /** Operations served since the mount, by name. */
  async counts(): Promise<Readonly<Record<string, number>>> {
    return await this.#order({ type: 'count', id: this.#nextId++ })
  }

  /** Ends every rule, so that nothing hangs any more, and unmounts. */
  async unmount(): Promise<void> {
    for (const id of this.#rules.keys()) await this.removeRule(id)
    execFileSync('umount', ['-l', this.mountPoint])
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const exited = once(this.#process, 'exit')
      this.#process.disconnect()
      await exited
    }
  }

  /** Kills the process: from then on everything below the mount point answers ENOTCONN. */
  async kill(): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }

  /** For Misbehaviour. */
  async removeRule(id: number): Promise<void> {
    if (this.#rules.delete(id) && this.#process.connected) {
      await this.#order({ type: 'remove', id: this.#nextId++, rule: id })
    }
  }

  async #add(rule: Rule): Promise<Misbehaviour> {
    const misbehaviour = new Misbehaviour(this, rule.id)
    this.#rules.set(rule.id, misbehaviour)
    await this.#order({ type: 'add', id: this.#nextId++, rule })
    return misbehaviour
  }

  async #order(order: Order): Promise<Readonly<Record<string, number>>> {
    return await new Promise((resolve) => {
      this.#orders.set(order.id, (counts) => {
        this.#orders.delete(order.id)
        resolve(counts)
      })
      this.#process.send(order)
    })
  }
}
