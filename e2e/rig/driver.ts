// SPDX-License-Identifier: Apache-2.0
/** Builds the memory_view module for the rig's kernels, each from its own copy of `kernel/`, so no build meets another. */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runLogged } from './command.ts'
import { type HostRoot, hostRoot } from './host-root.ts'
import { buildInRoot } from './in-root.ts'
import { withLock } from './lock.ts'
import { KERNEL_LABELS, type KernelLabel, kernelLabel } from './packages.ts'
import { cacheSubdir, checkout } from './paths.ts'
import { runMain, step, StepError } from './progress.ts'

function sourceFiles(dir: string, prefix = ''): string[] {
  return readdirSync(dir)
    .toSorted()
    .flatMap((name) => {
      const path = join(dir, name)
      const isDirectory = statSync(path).isDirectory()
      if (isDirectory) return name.startsWith('.') ? [] : sourceFiles(path, `${prefix}${name}/`)
      return /(\.[ch]|\.sh|Kbuild|Makefile|dkms\.conf)$/.test(name) && !name.endsWith('.mod.c')
        ? [`${prefix}${name}`]
        : []
    })
}

/** The module for one kernel, as a path in the cache; built when the sources changed. */
export async function builtDriver(root: HostRoot, label: KernelLabel): Promise<string> {
  const version = root.manifest.kernels[label]
  const source = process.env['VIEWFSD_KERNEL_DIR'] ?? join(checkout, 'kernel')
  const files = sourceFiles(source).filter((name) => !name.startsWith('selftests/'))
  if (files.length < 2) throw new StepError('kernel/ has no driver source')
  const hash = createHash('sha256').update(version)
  for (const name of files) hash.update(`\0${name}\0`).update(readFileSync(join(source, name)))
  const key = hash.digest('hex').slice(0, 12)
  const dir = join(cacheSubdir('driver'), `${label}-${key}`)
  const module = join(dir, 'memory_view.ko')
  if (existsSync(module)) return module
  return withLock(`${dir}.lock`, async () => {
    if (existsSync(module)) return module
    const partial = `${dir}.partial`
    rmSync(partial, { recursive: true, force: true })
    for (const name of files) {
      mkdirSync(join(partial, name, '..'), { recursive: true })
      cpSync(join(source, name), join(partial, name))
    }
    const log = join(cacheSubdir('logs'), `driver-${label}.log`)
    rmSync(log, { force: true })
    const make = `make -C /lib/modules/${version}/build M=/srv/driver/${label}-${key}.partial modules`
    await step(`building the driver for ${version}`, () => runLogged('the driver build', buildInRoot(root, make), log))
    rmSync(dir, { recursive: true, force: true })
    renameSync(partial, dir)
    return module
  })
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { kernel: { type: 'string', multiple: true, default: [...KERNEL_LABELS] } } })
  const root = await hostRoot()
  for (const label of values.kernel) process.stdout.write(`${await builtDriver(root, kernelLabel(label))}\n`)
  return 0
}

if (process.argv[1]?.endsWith('/driver.js')) runMain(main)
