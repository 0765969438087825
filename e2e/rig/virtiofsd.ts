// SPDX-License-Identifier: Apache-2.0
/**
 * Debian's virtiofsd as a program of this machine, for tests that compare ours with it: from the host root where that
 * is built, else from its package, which is fetched (with the libraries that it needs) and unpacked into the cache.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machineMirror } from './apt-mirror.ts'
import { runLogged, shellQuote } from './command.ts'
import { builtHostRoot, RELEASE } from './host-root.ts'
import { cacheSubdir } from './paths.ts'
import { buildInStages, buildKey, type Stage } from './stages.ts'

const PACKAGES = ['virtiofsd', 'libc6', 'libcap-ng0', 'libgcc-s1', 'libseccomp2'] as const
const LIBRARIES = 'usr/lib/x86_64-linux-gnu'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** The release's package lists and packages, without touching what this machine's apt knows. */
function fetchStages(logPath: string): Stage[] {
  return [
    {
      name: 'fetch',
      build: async (dir) => {
        const state = join(dir, 'apt')
        for (const part of ['lists/partial', 'cache/archives/partial'])
          mkdirSync(join(state, part), { recursive: true })
        writeFileSync(join(state, 'sources.list'), `deb [signed-by=${KEYRING}] ${machineMirror()} ${RELEASE} main\n`)
        writeFileSync(join(state, 'status'), '')
        const options = [
          `Dir::Etc::SourceList=${state}/sources.list`,
          'Dir::Etc::SourceParts=/dev/null',
          `Dir::State::Lists=${state}/lists`,
          `Dir::State::Status=${state}/status`,
          `Dir::Cache=${state}/cache`,
          'APT::Sandbox::User=root',
          'Acquire::Languages=none',
        ].flatMap((option) => ['-o', option])
        await runLogged('reading package lists', ['apt-get', ...options, 'update'], logPath)
        const download = ['apt-get', ...options, 'download', ...PACKAGES].map(shellQuote).join(' ')
        await runLogged('downloading virtiofsd', ['sh', '-ec', `cd ${shellQuote(dir)}; ${download}`], logPath)
      },
    },
    {
      name: 'unpack',
      build: async (dir) => {
        for (const name of readdirSync(dir).filter((file) => file.endsWith('.deb')))
          await runLogged(`unpacking ${name}`, ['dpkg-deb', '-x', join(dir, name), dir], logPath)
      },
    },
  ]
}

/** @returns the path of a program that behaves as /usr/libexec/virtiofsd does on Debian */
export async function virtiofsdProgram(): Promise<string> {
  let root = builtHostRoot()
  if (root === undefined) {
    const key = buildKey(RELEASE, PACKAGES)
    root = await buildInStages(
      join(cacheSubdir('virtiofsd'), key),
      'virtiofsd',
      fetchStages(join(cacheSubdir('logs'), `virtiofsd-${key}.log`)),
    )
  }
  const libraries = join(root, LIBRARIES)
  const argv = [
    join(libraries, 'ld-linux-x86-64.so.2'),
    '--library-path',
    libraries,
    join(root, 'usr/libexec/virtiofsd'),
  ]
  const program = join(cacheSubdir('virtiofsd'), `virtiofsd-${buildKey(root)}.sh`)
  if (!existsSync(program)) {
    // Its own loader and libraries: the package may be of a newer release than this machine.
    writeFileSync(program, `#!/bin/sh\nexec ${argv.map(shellQuote).join(' ')} "$@"\n`)
    chmodSync(program, 0o755)
  }
  return program
}
