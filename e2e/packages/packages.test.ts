// SPDX-License-Identifier: Apache-2.0
/**
 * The packages (npm run package) in fresh roots: what is installed works, an upgrade leaves nothing of the version before, and
 * a purge nothing at all.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT_ID } from '../../server/integration/harness/fuse-abi.ts'
import { connectFrontend, startDaemon, startDevice } from '../../server/integration/harness/session.ts'
import { commandBlock } from '../docs/blocks.ts'
import { shellQuote } from '../rig/command.ts'
import { cacheSubdir } from '../rig/paths.ts'
import { LayerShell } from './layer.ts'
import { GONE, makePrevious, PREVIOUS_VERSION } from './previous.ts'
import { freshRoot, RELEASES } from './roots.ts'
import { source } from './source.ts'

const { version, commit } = source()
const INSTALL = 'DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 install --no-install-recommends'
/** Not a package's affair: what apt, dpkg, depmod and DKMS write for themselves. */
const NOT_OURS = [
  '/host',
  '/run',
  '/usr/lib/modules/*/modules.*',
  '/var/cache',
  '/var/lib/apt',
  '/var/lib/dkms/mok.*',
  '/var/lib/dpkg',
  '/var/log',
]
const FILES = `find / -xdev \\( ${NOT_OURS.map((path) => `-path '${path}'`).join(' -o ')} \\) -prune -o -print | sort`
const O_RDONLY = 0

/** VIEWFSD_TEST_RELEASES names some of them, with blanks between them. */
const releases = (process.env['VIEWFSD_TEST_RELEASES'] ?? RELEASES.join(' ')).split(' ')

test('the releases are known', () => {
  expect(RELEASES).toEqual(expect.arrayContaining(releases))
})

describe.each(RELEASES.filter((name) => releases.includes(name)))('%s', (release) => {
  let layer: LayerShell
  let scratch: string
  let program: string
  let before: string[]

  beforeAll(async () => {
    if (process.geteuid?.() !== 0) throw new Error('these tests need root')
    const packages = join(cacheSubdir('packages'), release)
    if (readdirSync(packages).length === 0) throw new Error('no packages: npm run package')
    scratch = mkdtempSync(join(tmpdir(), `viewfsd-${release}-`))
    chmodSync(scratch, 0o755)
    await makePrevious(packages, join(scratch, 'previous'))
    layer = new LayerShell(await freshRoot(release), [
      // Daemons are asked from outside, so that their sockets have to be there.
      'mount --rbind /tmp "$ROOT/tmp"',
      'mkdir -p "$ROOT/host/packages" "$ROOT/host/previous"',
      `mount --bind ${shellQuote(packages)} "$ROOT/host/packages"`,
      `mount --bind ${shellQuote(join(scratch, 'previous'))} "$ROOT/host/previous"`,
      `mount --bind ${shellQuote(cacheSubdir('apt-archives'))} "$ROOT/var/cache/apt/archives"`,
    ])
    program = join(scratch, 'program')
    // What the packages need is not what they leave.
    await layer.run(`
      for deb in /host/packages/*.deb; do
        case $deb in *dbgsym*) continue ;; esac
        depends="$depends\${depends:+, }$(dpkg-deb -f "$deb" Depends)"
      done
      ${INSTALL} linux-headers-cloud-amd64
      DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 satisfy --no-install-recommends "$depends"`)
    before = (await layer.run(FILES)).split('\n')
  }, 1_200_000)

  afterAll(() => {
    layer?.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  test('the previous version gives way to this one', async () => {
    await layer.run(`${INSTALL} /host/previous/*.deb`)
    expect(await layer.run("dpkg-query -W -f '${Version}' viewfsd")).toBe(PREVIOUS_VERSION)
    await layer.run(`ls ${GONE.join(' ')}`)
    // As the document says, for the kernel whose headers are there, and with nobody to ask.
    const install = commandBlock('doc/install.md', 'packages')
      .join('\n')
      .replace('headers-amd64', 'headers-cloud-amd64')
    await layer.run(`echo 'APT::Get::Assume-Yes "true"; Dpkg::Use-Pty "0";' >/run/apt.conf
      export APT_CONFIG=/run/apt.conf DEBIAN_FRONTEND=noninteractive; cd /host/packages
      ${install}`)
    for (const path of GONE) await layer.run(`test ! -e ${path}`)
    // For the release's own kernel.
    expect(await layer.run('dkms status')).toMatch(new RegExp(`^memory-view/${version}, .*cloud-amd64.*: installed$`))
    expect(await layer.run('dpkg --verify viewfsd memory-view-dkms')).toBe('')
  })

  test('the program tells what it was built from, and what the host lacks', async () => {
    expect(await layer.run('viewfsd --version')).toMatch(`viewfsd ${version} (commit ${commit})\n`)
    expect(JSON.parse(await layer.run('viewfsd check --json || test $? = 1'))).toHaveProperty('window')
    expect(await layer.run('/usr/libexec/viewfsd --print-capabilities')).toContain('"type": "fs"')
  })

  test('it serves a guest behind its doors', async () => {
    const enter = `nsenter --target ${layer.pid} --mount --pid --root --wd`
    writeFileSync(program, `#!/bin/sh\nexec ${enter} /usr/libexec/viewfsd "$@"\n`)
    chmodSync(program, 0o755)
    const daemon = startDaemon({ program, args: ['--sandbox=namespace', '--seccomp=kill'] })
    writeFileSync(join(daemon.sharedDir, 'file'), 'from the host')
    const { client, frontend } = startDevice(daemon, await connectFrontend(daemon))
    const { nodeid } = client.lookup(ROOT_ID, 'file')
    expect(Buffer.from(client.read(nodeid, client.open(nodeid, O_RDONLY), 0, 100)).toString()).toBe('from the host')
    expect(await layer.run(`viewfsdctl --socket=${daemon.socketPath} status`)).toContain(version)
    frontend.close()
    expect(await daemon.exit()).toEqual({ code: 0, signal: null })
  })

  test('a purge leaves nothing', async () => {
    await layer.run('DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 purge viewfsd memory-view-dkms')
    const after = (await layer.run(FILES)).split('\n')
    expect(after.filter((path) => !before.includes(path))).toEqual([])
    expect(before.filter((path) => !after.includes(path))).toEqual([])
  })
})
