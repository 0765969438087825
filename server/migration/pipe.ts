// SPDX-License-Identifier: Apache-2.0
/** The pipe that a device's state goes through. Waiting for its other end is libuv's threads' business, not the main thread's. */
import { close, read, write } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

/** Far more than the inodes that a guest may know take. */
export const MAX_STATE_BYTES = 2 ** 30
const CHUNK = 1024 * 1024
/** How soon to look again where the frontend has made the pipe non-blocking. */
const AGAIN_MS = 5

const closeFd = promisify(close)
const readFd = promisify(read)
const writeFd = promisify(write)

async function waiting<T>(operation: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await operation()
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      await sleep(AGAIN_MS)
    }
  }
}

/** Writes all of it, and closes the pipe in any case. @param fd is the function's from now on */
export async function writeState(fd: number, bytes: Uint8Array): Promise<void> {
  try {
    let at = 0
    while (at < bytes.length) {
      const { bytesWritten } = await waiting(() => writeFd(fd, bytes, at, Math.min(CHUNK, bytes.length - at)))
      at += bytesWritten
    }
  } finally {
    await closeFd(fd)
  }
}

/**
 * Reads until the other end is closed, and closes this one in any case.
 * @param fd is the function's from now on
 * @throws an Error where there is more than anybody sends
 */
export async function readState(fd: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let total = 0
  try {
    for (;;) {
      const part = Buffer.allocUnsafe(CHUNK)
      const { bytesRead } = await waiting(() => readFd(fd, part, 0, CHUNK, null))
      if (bytesRead === 0) return Buffer.concat(parts)
      total += bytesRead
      if (total > MAX_STATE_BYTES) throw new Error(`it has more than ${MAX_STATE_BYTES} bytes`)
      parts.push(part.subarray(0, bytesRead))
    }
  } finally {
    await closeFd(fd)
  }
}
