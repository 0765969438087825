// SPDX-License-Identifier: Apache-2.0
/** The process that serves below a daemon with --on-crash=restart. */
import { readFileSync, readlinkSync } from 'node:fs'
import type { Daemon } from './daemon.ts'

/** None where it has ended meanwhile. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return text === '' ? [] : text.split(' ').map(Number)
  } catch {
    return []
  }
}

function isNode(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === process.execPath
  } catch {
    return false
  }
}

/** The server: its keeper, which is the same program, is below it, or below the first process after its end. */
export function serverBelow(pid: number): number | undefined {
  const children = childrenOf(pid)
  // The last one to be started, where an older one has been left.
  const server = children.findLast((child) => isNode(child))
  if (server !== undefined) return server
  return children.map((child) => serverBelow(child)).find((found) => found !== undefined)
}

/** Kills the server. @returns once its successor serves */
export async function killServer(daemon: Daemon, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  const restarts = (): number => daemon.records.filter((record) => eventOf(record) === 'server-restarted').length
  const before = restarts()
  const server = serverBelow(daemon.pid)
  if (server === undefined) throw new Error('nobody serves')
  process.kill(server, signal)
  await daemon.until(() => restarts() > before || daemon.exited !== undefined, 'another server')
  if (daemon.exited !== undefined) throw new Error(`the daemon has ended\n${daemon.log}`)
}

function eventOf(record: unknown): unknown {
  return typeof record === 'object' && record !== null && 'event' in record ? record.event : undefined
}

/** The process that waits for the end of a daemon's servers: the launcher itself, unless it has made namespaces. */
export function firstProcess({ pid }: Daemon): number {
  const children = childrenOf(pid)
  // Who is the first process has at least a server and a process that starts the next one.
  return children.length === 1 ? (children[0] ?? pid) : pid
}
