// SPDX-License-Identifier: Apache-2.0
/** Files with known bytes. */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const MIB = 1 << 20

/** Sizes around pages and 2 MiB ranges, where mistakes live. */
export const INTERESTING_SIZES: readonly number[] = [
  0,
  1,
  4095,
  4096,
  4097,
  65536,
  2 * MIB - 1,
  2 * MIB,
  2 * MIB + 1,
  5 * MIB + 123,
  24 * MIB,
]

/** Bytes that differ from place to place and from file to file, so that a page in the wrong place shows. */
export function pattern(size: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4))
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index ^ (seed << 20), 2654435761)
  return Buffer.from(words.buffer, 0, size)
}

/** Fills `dir` with one file of each size. */
export function writePatternFiles(dir: string, sizes: readonly number[] = INTERESTING_SIZES): void {
  mkdirSync(dir, { recursive: true })
  for (const [index, size] of sizes.entries()) writeFileSync(join(dir, `f${index}-${size}`), pattern(size, index + 1))
}

/** The regular files below `dir` that are not symbolic links, as relative paths. */
export function regularFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .toSorted()
}

/** Lines for `sha256sum -c`, for every regular file below `dir`. Names with line breaks are left out, and counted. */
export function checksumList(dir: string): { readonly list: string; readonly files: number; readonly bytes: number } {
  let list = ''
  let files = 0
  let bytes = 0
  for (const path of regularFiles(dir)) {
    if (/[\n\\]/.test(path)) continue
    const content = readFileSync(join(dir, path))
    list += `${createHash('sha256').update(content).digest('hex')}  ${path}\n`
    files++
    bytes += content.length
  }
  return { list, files, bytes }
}
