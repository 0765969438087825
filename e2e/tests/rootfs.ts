// SPDX-License-Identifier: Apache-2.0
/** A guest that lives on viewfsd: its root file system, without a window, on both kinds of device and kernel. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startViewfsd } from '../guest/daemon.ts'
import { Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel, sh } from '../guest/host.ts'
import { check, equal, selected, suite, test } from './harness.ts'
import type { Rig } from './session.ts'

const LARGE_DIRECTORY = 100_000

/** What programs of a user land do; each runs in an empty folder of its own. */
export const WORKLOADS: readonly (readonly [name: string, script: string])[] = [
  [
    'packages: build, install, run and purge one with dpkg and apt',
    `mkdir -p p/DEBIAN p/usr/bin
     printf 'Package: hello-view\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <n@example.org>\\nDescription: test\\n' >p/DEBIAN/control
     printf '#!/bin/sh\\necho hello from a package\\n' >p/usr/bin/hello-view; chmod 755 p/usr/bin/hello-view
     dpkg-deb -Zgzip -b p hello.deb >/dev/null # xz fills a dictionary that the rig takes minutes to page in.
     dpkg -i hello.deb >/dev/null; test "$(hello-view)" = "hello from a package"; dpkg -P hello-view >/dev/null
     apt-get -o APT::Sandbox::User=root -o Dir::Log::Planner=/dev/null -y -qq install ./hello.deb >/dev/null 2>&1
     dpkg -s hello-view | grep -q installed`,
  ],
  [
    'git: commit, branch, merge, gc, clone, fsck',
    `export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
     git init -q -b main r; cd r; git config gc.auto 0; git config maintenance.auto false; for i in 1 2 3; do echo $i >f$i; git add f$i; git commit -q -m c$i; done
     git checkout -q -b side HEAD~1; echo side >s; git add s; git commit -q -m side; git checkout -q main
     git merge -q --no-edit side; git gc -q; git clone -q . ../c; cd ../c; git fsck --strict; test "$(git log --oneline | wc -l)" = 5`,
  ],
  [
    'gcc: compile, link, run',
    `printf '#include <stdio.h>\\nint main(void){puts("compiled");return 0;}\\n' >h.c; gcc -O1 -o h h.c; test "$(./h)" = compiled`,
  ],
  [
    'tar: pack a tree and unpack it with owners, links and times',
    `cp -a /usr/share/perl5/Debian /etc/apt t 2>/dev/null || cp -a /etc/apt t; ln -s t l; ln t/sources.list t/hard
     chown 12:34 t/hard; tar -cf a.tar t l; mkdir u; tar -C u -xpf a.tar; tar -C u -df a.tar; test "$(stat -c %h u/t/hard)" = 2`,
  ],
  [
    'SQLite: WAL, two writers at once, a kill in the middle',
    `sqlite3 d "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);" >/dev/null
     for w in 1 2; do (for i in 1 2 3 4 5 6 7 8 9 10; do
       sqlite3 -cmd '.timeout 60000' d "INSERT INTO t(b) VALUES (hex(randomblob(500)));"; done) & done; wait
     (yes "INSERT INTO t(b) VALUES ('partial');" | (echo 'BEGIN;'; cat) | timeout -s KILL 3 sqlite3 d) >/dev/null 2>&1 || true
     test "$(sqlite3 d 'PRAGMA integrity_check;')" = ok; test "$(sqlite3 d "SELECT count(*) FROM t WHERE b != 'partial';")" = 20`,
  ],
]

async function userLandSuite(title: string, guest: Guest): Promise<void> {
  await test(`${title}: what programs expect of a file system`, async () => {
    const { status, output } = await guest.run('mkdir -p /root/check && /root/fs-check /root/check')
    const bad = output
      .split('\n')
      .filter((line, at, all) => line.startsWith('not ok') || (all[at - 1] ?? '').startsWith('not ok'))
    check(status === 0, bad.join('\n') || output)
  })
  for (const [name, script] of WORKLOADS)
    await test(`${title}: ${name}`, async () => {
      await guest.must(`set -e; rm -rf /root/w; mkdir /root/w; cd /root/w; ${script}`)
    })
}

/** Boots a guest whose root is viewfsd and runs the user land's tests in it. */
async function rootSuite(rig: Rig, kernel: string, kind: 'generic' | 'fs', cache: string): Promise<void> {
  const title = `root ${kernel} ${kind === 'fs' ? 'vhost-user-fs-pci' : 'vhost-user-test-device-pci'}`
  if (!selected(title)) return
  const dir = join(rig.data, 'root')
  const hasMany = kind === 'generic'
  if (hasMany) {
    // Into the upper layer before it is one: overlayfs takes several times as long for each file.
    const many = join(dir, 'upper/root/many')
    mkdirSync(many, { recursive: true })
    sh(`cp /out/many-files /run; /run/many-files make ${many} ${LARGE_DIRECTORY}`)
  }
  const root = makeGuestRoot(dir)
  // apt would index the mirror's whole list of packages again, and run debconf first, which takes the rig minutes.
  sh(`cd ${root}; rm -f var/lib/apt/lists/*_* var/cache/apt/*.bin etc/apt/apt.conf.d/70debconf`)
  const log = join(rig.run, 'root')
  const daemon = await startViewfsd(log, 'root', root, [
    '--xattr',
    '--modcaps=+sys_admin', // trusted attributes
    '--window=none',
    `--cache=${cache}`,
  ])
  let guest: Guest | undefined
  const booted = await test(`${title}: boots`, async () => {
    guest = await Guest.boot({
      dir: log,
      kernelImage: guestKernel(kernel),
      devices: [{ socketPath: daemon.socketPath, kind, tag: 'root' }],
    })
  })
  if (guest !== undefined && booted) {
    const running = guest
    await userLandSuite(title, running)
    if (hasMany)
      await test(`${title}: READDIRPLUS of ${LARGE_DIRECTORY} entries`, async () => {
        const before = await daemon.counters()
        await running.must(`/root/many-files check /root/many ${LARGE_DIRECTORY}`)
        const sent = (await daemon.counters()).get('fuse.requests.READDIRPLUS') ?? 0
        const entriesEach = LARGE_DIRECTORY / (sent - (before.get('fuse.requests.READDIRPLUS') ?? 0))
        // Requests of a page hold more than ten entries; were they plain READDIR, each entry would be looked up by name.
        check(entriesEach < 1000, `one READDIRPLUS for ${entriesEach.toFixed(0)} entries`)
      })
    await test(`${title}: ends cleanly`, async () => {
      await running.shutdown()
      equal(await daemon.exited, 'exit status 0', 'the end of the daemon')
      equal(running.complaints().join('\n'), '', 'guest kernel log')
    })
  }
  await daemon.end()
}

export async function rootSuites(rig: Rig): Promise<void> {
  await suite(rig, 'root-generic', (own) => rootSuite(own, '7.3', 'generic', 'always'))
  await suite(rig, 'root-fs', (own) => rootSuite(own, '6.12', 'fs', 'auto'))
}
