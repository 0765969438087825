// SPDX-License-Identifier: Apache-2.0
/** Podman with its storage on a share, by the commands of doc/recipes.md, through this kernel's own FUSE client. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { recipe } from '../../e2e/guest/recipes.ts'
import { testing } from '../../native/testing/index.ts'
import { mountWithOptions } from './harness/client-mount.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'

const { options, guest } = recipe('doc/recipes.md', 'containers')

/** What is not on the share lies in the working directory, which no script leaves. */
const FUNCTIONS = `
  podman() { command podman --runroot="$PWD"/run --tmpdir="$PWD"/tmp --events-backend=none --cgroup-manager=cgroupfs "$@"; }
  storage() { podman --root=/mnt/containers --storage-driver=overlay "$@"; }`

test('images and containers: imported, changed, committed, removed', async () => {
  const scratch = makeScratch()
  onTestFinished(() => removeScratch(scratch))
  const { share, mountPoint } = await mountWithOptions(options)
  const sh = (script: string): void => {
    const commands = `${FUNCTIONS}\n${script}`.replaceAll('/mnt', mountPoint)
    execFileSync('bash', ['-eux', '-o', 'pipefail', '-c', commands], { cwd: scratch, stdio: 'pipe' })
  }
  sh(`
    mkdir -p rootfs/bin rootfs/etc rootfs/dev rootfs/var/cache/old
    cp /bin/true rootfs/bin/setuid; chmod 4755 rootfs/bin/setuid; ln rootfs/bin/setuid rootfs/bin/hard
    cp /bin/true rootfs/bin/capable
    setcap cap_net_raw+ep rootfs/bin/capable
    echo hello > rootfs/etc/motd; ln -s motd rootfs/etc/link; chown 1000:1000 rootfs/etc/motd; echo old > rootfs/var/cache/old/file
    mkfifo rootfs/dev/fifo
    tar --numeric-owner --xattrs --xattrs-include='*' -C rootfs -cf rootfs.tar .
    ${guest.join('\n')}`)
  // The attributes are the guest's alone: the host knows them by other names.
  const layers = path.join(share, 'containers/overlay')
  const capable =
    readdirSync(layers)
      .map((layer) => path.join(layers, layer, 'diff/bin/capable'))
      .find(existsSync) ?? ''
  expect(testing.getXattr(capable, 'user.virtiofs.security.capability', Buffer.alloc(100))).toBeGreaterThan(0)
  expect(testing.getXattr(capable, 'security.capability', Buffer.alloc(100))).toBe(-constants.errno.ENODATA)

  sh(`
    root=$(storage mount container)
    [ "$(stat -f -c %T "$root")" = overlayfs ]
    [ "$(cat "$root"/etc/link)" = hello ] && [ "$(stat -c %u "$root"/etc/motd)" = 1000 ]
    [ "$(stat -c %a:%h "$root"/bin/hard)" = 4755:2 ] && [ -p "$root"/dev/fifo ]
    getcap "$root"/bin/capable | grep -q cap_net_raw
    echo more >> "$root"/etc/motd; rm "$root"/dev/fifo; rm -r "$root"/var/cache; mkdir -p "$root"/var/cache/old
    mkdir "$root"/new; mv "$root"/new "$root"/renamed; chown 5 "$root"/bin/hard
    storage unmount container
    storage diff container | sort > diff
    grep -qx 'D /dev/fifo' diff && grep -qx 'C /etc/motd' diff && grep -qx 'A /renamed' diff

    storage commit container second
    storage create --name=other second /bin/sh
    root=$(storage mount other)
    [ "$(tail -n 1 "$root"/etc/link)" = more ] && [ ! -e "$root"/dev/fifo ] && [ -d "$root"/renamed ]
    [ -z "$(ls -A "$root"/var/cache/old)" ] && [ "$(stat -c %u "$root"/bin/hard)" = 5 ]
    getcap "$root"/bin/capable | grep -q cap_net_raw
    storage unmount other

    storage rm container other
    storage rmi second image
    [ -z "$(find /mnt/containers/overlay -mindepth 1 -type d -not -name l)" ]`)
})
