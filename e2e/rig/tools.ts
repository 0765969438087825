// SPDX-License-Identifier: Apache-2.0
/** Builds the C programs of e2e/guest/tools in the host root: each file there is one, and each folder of files. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { runLogged } from './command.ts'
import type { HostRoot } from './host-root.ts'
import { buildInRoot } from './in-root.ts'
import { cacheSubdir, checkout } from './paths.ts'
import { buildInStages } from './stages.ts'

/** The programs by name, as paths in the cache; built when a source changed. */
export async function builtTools(root: HostRoot): Promise<Record<string, string>> {
  const source = join(checkout, 'e2e/guest/tools')
  const files = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(source, join(entry.parentPath, entry.name)))
    .toSorted()
  const names = [...new Set(files.map((file) => file.replace(/\/.*|\.c$/, '')))]
  const hash = createHash('sha256').update(root.path)
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(source, file)))
  const key = hash.digest('hex').slice(0, 12)
  const dir = join(cacheSubdir('tools'), key)
  const log = join(cacheSubdir('logs'), 'tools.log')
  const compile = names.map(
    (name) =>
      `gcc -O1 -Wall -Wextra -o /srv/tools/${key}.partial/${name} ${files.includes(`${name}.c`) ? `${name}.c` : `${name}/*.c`}`,
  )
  const build = buildInRoot(root, ['cd /repo/e2e/guest/tools', ...compile].join('\n'))
  await buildInStages(dir, 'test programs', [{ name: 'gcc', build: () => runLogged('gcc', build, log) }])
  return Object.fromEntries(names.map((name) => [name, join(dir, name)]))
}
