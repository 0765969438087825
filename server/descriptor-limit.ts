// SPDX-License-Identifier: Apache-2.0
/** RLIMIT_NOFILE, for --rlimit-nofile. */
import { existsSync, readFileSync } from 'node:fs'
import { fileSystem as native } from '../native/index.ts'

/** Where nothing is asked for. */
const DEFAULT_LIMIT = 1_000_000
/** What the daemon itself needs: Node, sockets, the rings of 65 queues, the window. */
export const MIN_LIMIT = 600

/**
 * @param wanted 0 leaves the limit; undefined: as high as is useful and allowed
 * @returns a warning, if there is one
 * @throws Error where a limit that was asked for can't be had
 */
export function setDescriptorLimit(wanted: number | undefined): string | undefined {
  if (wanted === 0) return undefined
  const highest = systemLimit()
  if (wanted === undefined) {
    const useful = Math.min(DEFAULT_LIMIT, highest)
    const limit = native.setDescriptorLimit(useful)
    return limit < useful ? `no more than ${limit} files can be open, instead of ${useful}: the hard limit` : undefined
  }
  if (wanted > highest)
    throw new Error(
      `--rlimit-nofile=${wanted}: the system allows no more than ${highest}; ask for less, or raise /proc/sys/fs/nr_open`,
    )
  if (wanted < MIN_LIMIT) throw new Error(`--rlimit-nofile=${wanted}: must be at least ${MIN_LIMIT}`)
  const limit = native.setDescriptorLimit(wanted)
  if (limit < wanted)
    throw new Error(
      `--rlimit-nofile=${wanted}: not permitted above ${limit}; ask for less, or raise the hard limit (ulimit -Hn, LimitNOFILE=)`,
    )
  return undefined
}

/** What no process can go beyond; infinity where /proc has processes alone (subset=pid), and only setrlimit(2) knows. */
function systemLimit(): number {
  const path = '/proc/sys/fs/nr_open'
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : Number.POSITIVE_INFINITY
}
