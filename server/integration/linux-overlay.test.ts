// SPDX-License-Identifier: Apache-2.0
/**
 * The recipes of doc/recipes.md for overlays, by the commands that stand there, and for the storage of containers, through this
 * kernel's own FUSE client: an overlay whose upper layer is on the share, and what the overlay drivers of Docker and Podman
 * do with their layers.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { recipe } from '../../e2e/guest/recipes.ts'
import { testing } from '../../native/testing/index.ts'
import { mountWithOptions } from './harness/client-mount.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'

/** A share with these options; `sh` runs a script in a directory with `mount`, the share as the guest sees it. */
async function mountShare(
  options: readonly string[],
): Promise<{ share: string; mount: string; sh: (script: string) => string }> {
  const { share, mountPoint: mount } = await mountWithOptions(options)
  const scratch = makeScratch()
  const sh = (script: string): string =>
    execFileSync('bash', ['-euo', 'pipefail', '-c', script], { cwd: scratch, encoding: 'utf8' })
  sh(`mkdir merged; ln -s ${mount} mount`)
  onTestFinished(() => {
    spawnSync('umount', ['--lazy', path.join(scratch, 'merged')])
    removeScratch(scratch)
  })
  return { share, mount, sh }
}

/** By :map::user.virtiofs.: */
function mapped(attribute: string): string {
  return `user.virtiofs.${attribute}`
}

/** Names of a file's extended attributes. */
function xattrs(file: string, ...names: string[]): string[] {
  return names.filter((name) => {
    try {
      return testing.getXattr(file, name, Buffer.alloc(256)) >= 0
    } catch {
      return false
    }
  })
}

test.each([
  ['doc/recipes.md', 'upper-layer', 'user.virtiofs.trusted.overlay.opaque'],
  ['doc/recipes.md', 'userxattr', 'user.overlay.opaque'],
])('%s: %s', async (document, name, opaque) => {
  const { options, guest } = recipe(document, name)
  const { share, sh } = await mountShare(options)
  const overlay = guest
    .join('\n')
    .replaceAll('/mnt', 'mount')
    .replaceAll('/usr', 'lower')
    .replaceAll('/merged', 'merged')
  sh(`
    mkdir -p lower/dir/below
    cd lower; echo base > file; ln -s file link; mkfifo fifo; mknod null c 1 3; echo below > dir/below/file; cd ..
    ${overlay}
    cd merged
    echo more >> file; chown -h 1000 link null fifo; mv link moved; rm null; ln file hard
    cp -a dir copied; rm -rf dir; mkdir dir; mkdir new; mv new renamed; mknod renamed/device c 1 5
    cd ..; umount merged; ${overlay}
    cd merged
    [ "$(tail -n 1 moved)" = more ] && [ "$(stat -c %u moved fifo | sort -u)" = 1000 ] && [ "$(stat -c %h file)" = 2 ]
    [ ! -e null ] && [ ! -e link ] && [ -z "$(ls -A dir)" ] && [ "$(cat copied/below/file)" = below ] && [ -c renamed/device ]
    cd ..; umount merged
  `)
  const dir = path.join(share, 'upper/dir')
  expect(xattrs(dir, 'trusted.overlay.opaque', 'user.overlay.opaque', opaque)).toContain(opaque)
  expect(xattrs(dir, 'trusted.overlay.opaque')).toEqual([])
  sh('rm -rf mount/upper mount/work')
})

test.each(['index=off', 'metacopy=on,redirect_dir=on,volatile'])(
  'the storage of containers, with %s',
  async (options) => {
    const { share, mount, sh } = await mountShare(recipe('doc/recipes.md', 'containers').options)
    const start = `(top=$PWD; cd mount/overlay; rm -rf container/work/work/incompat
    mount -t overlay overlay -o lowerdir=l/APP:l/BASE,upperdir=container/diff,workdir=container/work,${options} "$top/merged")`
    sh(`
    mkdir -p mount/overlay/l; cd mount/overlay
    for layer in base:BASE app:APP container:CONTAINER; do
      mkdir -p \${layer%:*}/diff \${layer%:*}/work; ln -s ../\${layer%:*}/diff l/\${layer#*:}
    done
    cd base/diff; mkdir -p bin etc var/cache/old srv/data/below dev
    cp /bin/true bin/setuid; chmod 4755 bin/setuid; ln bin/setuid bin/hard; cp /bin/true bin/capable
    echo hello > etc/motd; echo gone > etc/gone; echo old > var/cache/old/file; echo below > srv/data/below/file
    mknod dev/null c 1 3; mkfifo dev/fifo; chown -R 1000:1000 srv
    cd ../../app/diff; mkdir -p etc var/cache/old; mknod etc/gone c 0 0; echo new > var/cache/old/other
  `)
    // As unpacking an archive sets them.
    const capable = 'overlay/base/diff/bin/capable'
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
    testing.setXattr(path.join(mount, capable), 'security.capability', capability)
    testing.setXattr(path.join(mount, 'overlay/app/diff/var/cache/old'), 'trusted.overlay.opaque', Buffer.from('y'))
    sh(`
    ${start}
    cd merged
    [ "$(ls var/cache/old)" = other ] && [ ! -e etc/gone ] && [ "$(cat etc/motd)" = hello ]
    [ "$(stat -c %a bin/setuid)" = 4755 ] && [ "$(stat -c %u srv/data)" = 1000 ]
    echo changed >> etc/motd; mv etc/motd etc/motd.new; ln -s motd.new etc/motd; rm dev/fifo; echo x > dev/null
    chown 1000 bin/capable; chmod 755 bin/hard; rm -rf var/cache; mkdir -p var/cache/old; [ -z "$(ls -A var/cache/old)" ]
    mv srv/data srv/moved; [ "$(cat srv/moved/below/file)" = below ]; [ ! -e srv/data ]
    cd ..; umount merged
    ${start}
    cd merged
    [ "$(tail -n 1 etc/motd)" = changed ] && [ -L etc/motd ] && [ ! -e dev/fifo ] && [ ! -e var/cache/old/other ]
    cat srv/moved/below/file > /dev/null; cd ..; umount merged
    [ "$(stat -c %t:%T:%F mount/overlay/container/diff/dev/fifo)" = "0:0:character special file" ]
  `)
    expect(xattrs(path.join(share, capable), mapped('security.capability'), 'security.capability')).toEqual([
      mapped('security.capability'),
    ])
    expect(xattrs(path.join(share, 'overlay/container/diff/var/cache'), mapped('trusted.overlay.opaque'))).toHaveLength(
      1,
    )
    sh('rm -rf mount/overlay; [ -z "$(ls -A mount)" ]')
  },
)
