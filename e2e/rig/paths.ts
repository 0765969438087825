// SPDX-License-Identifier: Apache-2.0
/** Where the rig keeps things: everything it downloads, builds or logs lies under one cache folder. */
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout; this file runs as `<checkout>/dist/e2e/rig/paths.js` (or, under vitest, from the source). */
export const checkout: string = (() => {
  const here = dirname(fileURLToPath(import.meta.url))
  return here.endsWith('/dist/e2e/rig') ? resolve(here, '../../..') : resolve(here, '../..')
})()

/** `VIEWFSD_CACHE`, or `<checkout>/.cache`; safe to delete as a whole while nothing runs. */
export const cacheDir: string = resolve(process.env['VIEWFSD_CACHE'] ?? join(checkout, '.cache'))

/** Where a benchmark's results go, created when missing: the folder of `--out`, or one in the cache. */
export function resultsDir(out: string | undefined): string {
  const dir = out === undefined ? cacheSubdir('bench') : resolve(out)
  mkdirSync(dir, { recursive: true })
  return dir
}

/** A folder under the cache, created when missing. */
export function cacheSubdir(...parts: string[]): string {
  const dir = join(cacheDir, ...parts)
  mkdirSync(dir, { recursive: true })
  return dir
}
