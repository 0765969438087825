// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'

/** Empties a directory in which a guest has been at work, but for the names given. */
export function removeChildren(directory: string, except: readonly string[] = []): void {
  const kept = except.map((name) => Buffer.from(name))
  try {
    remove(Buffer.from(directory), kept)
  } catch {
    // A guest may give files the attributes immutable and append-only.
    execFileSync('chattr', ['-R', '-f', '-ia', directory], { stdio: 'ignore' })
    remove(Buffer.from(directory), kept)
  }
}

/** The names are bytes of any kind. */
function remove(directory: Buffer, kept: readonly Buffer[]): void {
  for (const name of fs.readdirSync(directory, { encoding: 'buffer' })) {
    if (kept.some((other) => other.equals(name))) continue
    const child = Buffer.concat([directory, Buffer.from('/'), name])
    if (fs.lstatSync(child).isDirectory()) {
      remove(child, [])
      fs.rmdirSync(child)
    } else {
      fs.unlinkSync(child)
    }
  }
}
