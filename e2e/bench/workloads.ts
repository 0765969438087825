// SPDX-License-Identifier: Apache-2.0
/**
 * The workloads of `npm run bench:workloads`: shell scripts that run in a guest, on /mnt, where `makeShare` has put what
 * they need. No network is used.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const COLUMNS = ['viewfsd', 'virtiofsd'] as const
export type Column = (typeof COLUMNS)[number]

export interface Workload {
  readonly name: string
  /** Without an effect on what is counted. */
  readonly prepare?: string
  /** The file system is mounted anew before: the guest knows nothing of it. Else it knows what the run before left. */
  readonly cold: boolean
  readonly script: string
}

const STATUS = 'cd /mnt/repository && git status --porcelain'
const GREP = 'grep -r needle /mnt/repository/source || true'
const FIND = 'find /mnt/repository/source -type f -size +1k'
const BUILD = 'cd /mnt/program && make -s -j2'
const CLEAN = 'cd /mnt/program && make -s clean'
/** Where a guest finds npm, which its Debian has none of. */
export const GUEST_NPM = '/opt/npm'

/** In this order: those that are not cold build on the one before. */
export const WORKLOADS: readonly Workload[] = [
  { name: 'git status', cold: true, script: STATUS },
  { name: 'git status, again', cold: false, script: STATUS },
  { name: 'grep -r', cold: true, script: GREP },
  { name: 'grep -r, again', cold: false, script: GREP },
  { name: 'find', cold: true, script: FIND },
  { name: 'find, again', cold: false, script: FIND },
  { name: 'make -j2', prepare: CLEAN, cold: true, script: BUILD },
  { name: 'make -j2, again', prepare: CLEAN, cold: false, script: BUILD },
  {
    name: 'git clone',
    prepare: 'rm -rf /mnt/clone',
    cold: true,
    script: 'git clone -q file:///mnt/repository /mnt/clone',
  },
  {
    name: 'npm ci',
    prepare: 'rm -rf /mnt/project/node_modules /tmp/npm',
    cold: true,
    script: `cd /mnt/project && node ${GUEST_NPM}/bin/npm-cli.js ci --offline --ignore-scripts --no-audit --no-fund --cache /tmp/npm`,
  },
  {
    name: 'tar x',
    prepare: 'rm -rf /mnt/untar; mkdir /mnt/untar',
    cold: true,
    script: 'tar -C /mnt/untar -xf /mnt/files.tar',
  },
  {
    name: 'image layer',
    prepare: 'rm -rf /mnt/layer; mkdir /mnt/layer',
    cold: true,
    script: 'tar -C /mnt/layer --same-owner --numeric-owner -xpf /mnt/layer.tar',
  },
  {
    name: 'SQLite, WAL',
    prepare: 'rm -f /mnt/base*',
    cold: true,
    script: `{ echo 'pragma journal_mode=wal; create table t (a integer primary key, b text);'
      i=0; while [ $i -lt 100 ]; do echo "insert into t (b) values ('row $i');"; i=$((i + 1)); done
      echo 'select count(*) from t;'; } | sqlite3 /mnt/base`,
  },
]

const DIRECTORIES = 30
const FILES_IN_EACH = 10
const SOURCES = 6
const PACKAGES = 12
const FILES_IN_PACKAGE = 20
const HEADERS = 20

function text(seed: number): string {
  return `/* file ${seed} */\n${`int value_${seed}(int a) { return a + ${seed}; }\n`.repeat(20 + (seed % 60))}`
}

/** Fills `share` with a repository, two programs, and two archives. Needs git, gcc's make, tar. */
export function makeShare(share: string, files: number): void {
  const repository = join(share, 'repository')
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    const path = join(repository, 'source', `part-${directory}`)
    mkdirSync(path, { recursive: true })
    for (let file = 0; file < FILES_IN_EACH; file++)
      writeFileSync(join(path, `file-${file}.c`), text(directory * FILES_IN_EACH + file))
  }
  makeProgram(join(share, 'program'))
  makeProject(join(share, 'project'))
  makeArchives(share, files)
  const git = `git -c user.name=bench -c user.email=bench@localhost -c safe.directory='*'`
  sh(`cd ${repository} && git init -q . && git add . && ${git} commit -q -m 'All files'`)
}

/** Its headers lie in the last of three directories, as those of most programs do in one of many. */
function makeProgram(program: string): void {
  for (const name of ['own', 'shared', 'include']) mkdirSync(join(program, name), { recursive: true })
  const includes = Array.from({ length: HEADERS }, (_, i) => `#include <header-${i}.h>\n`).join('')
  for (let i = 0; i < HEADERS; i++)
    writeFileSync(join(program, 'include', `header-${i}.h`), `#pragma once\nint declared_${i}(void);\n`)
  for (let i = 0; i < SOURCES; i++)
    writeFileSync(join(program, `source-${i}.c`), `${includes}int function_${i}(int a) { return a * ${i}; }\n`)
  writeFileSync(join(program, 'main.c'), 'int main(void) { return 0; }\n')
  writeFileSync(
    join(program, 'Makefile'),
    [
      'OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))',
      'program: $(OBJECTS)',
      '\tgcc -o $@ $^',
      '%.o: %.c',
      '\tgcc -Iown -Ishared -Iinclude -MMD -c -o $@ $<',
      'clean:',
      '\trm -f program *.o *.d',
      '-include $(wildcard *.d)',
      '',
    ].join('\n'),
  )
}

/** Depends on packages whose archives lie beside it. */
function makeProject(project: string): void {
  const names = Array.from({ length: PACKAGES }, (_, i) => `package-${i}`)
  mkdirSync(join(project, 'archives'), { recursive: true })
  for (const name of names) {
    const scratch = `/run/packages/${name}/package`
    mkdirSync(join(scratch, 'lib'), { recursive: true })
    writeFileSync(join(scratch, 'package.json'), JSON.stringify({ name, version: '1.0.0' }))
    for (let i = 0; i < FILES_IN_PACKAGE; i++) writeFileSync(join(scratch, 'lib', `${i}.js`), text(i))
    sh(`tar -C /run/packages/${name} -czf ${project}/archives/${name}.tgz package`)
  }
  const root = {
    name: 'project',
    version: '1.0.0',
    dependencies: Object.fromEntries(names.map((name) => [name, `file:archives/${name}.tgz`])),
  }
  const locked = names.map((name) => [
    `node_modules/${name}`,
    { version: '1.0.0', resolved: `file:archives/${name}.tgz` },
  ])
  writeFileSync(join(project, 'package.json'), JSON.stringify(root))
  writeFileSync(
    join(project, 'package-lock.json'),
    JSON.stringify({ ...root, lockfileVersion: 3, packages: { '': root, ...Object.fromEntries(locked) } }),
  )
  sh('rm -rf /run/packages')
}

/** `layer.tar`: owners, links, and whiteouts as overlayfs has them. */
function makeArchives(share: string, files: number): void {
  const scratch = '/run/archives'
  mkdirSync(`${scratch}/files`, { recursive: true })
  for (let i = 0; i < files; i++) {
    const directory = `${scratch}/files/${Math.trunc(i / 100)}`
    mkdirSync(directory, { recursive: true })
    writeFileSync(`${directory}/${i}`, `small file ${i}\n`)
  }
  sh(`tar -C ${scratch}/files -cf ${share}/files.tar .`)
  mkdirSync(`${scratch}/layer/usr/lib`, { recursive: true })
  for (let i = 0; i < files / 4; i++) writeFileSync(`${scratch}/layer/usr/lib/${i}.so.1.0`, text(i))
  sh(`cd ${scratch}/layer/usr/lib
    for file in *.so.1.0; do ln -s $file "\${file%.1.0}"; done
    chown 1000:1000 1?.so.1.0; ln 1.so.1.0 hard-link; mknod gone-1 c 0 0; mknod gone-2 c 0 0
    tar -C ${scratch}/layer -cf ${share}/layer.tar .; rm -rf ${scratch}`)
}

function sh(script: string): void {
  execFileSync('/bin/sh', ['-ec', script], { stdio: ['ignore', 'inherit', 'inherit'] })
}
