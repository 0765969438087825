// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that has a window besides, of a unit's daemon: it reads there, and goes on when the daemon's server is killed, and when the unit
 * is told to reload.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { step } from '../rig/progress.ts'
import { NestedDomain } from './nested-domain.ts'
import { expectMatch, run, sh, until } from './nested-shell.ts'

const FILE_BYTES = 8 << 20
const UNIT = 'viewfsd@window.service'
const SOCKET = '/run/viewfsd/window.sock'
/** Reads the file through the window again and again; each sum is a line. */
const READER = `exec 5>/run/sums; while [ ! -e /run/stop ]; do sha256sum </mnt/w/file >&5; done; touch /run/stopped`

function configure(): void {
  mkdirSync('/srv/window', { recursive: true })
  writeFileSync('/srv/window/file', Buffer.alloc(FILE_BYTES, 'window'))
  sh(`mkdir -p /etc/systemd/system/viewfsd@.socket.d
    printf '[Socket]\\nSocketGroup=kvm\\nSocketMode=0660\\n' >/etc/systemd/system/viewfsd@.socket.d/qemu.conf
    printf 'VIEWFSD_OPTIONS="--shared-dir=/srv/window --tag=window --window=memory-view --window-size=256M --on-crash=restart"\\n' >/etc/viewfsd/window.conf
    systemctl daemon-reload
    systemctl start viewfsd@window.socket`)
}

function unit(property: string): string {
  return sh(`systemctl show -P ${property} ${UNIT}`)
}

/** How many servers were before this one, and what has ended the last of them; empty while one follows another. */
function servers(): string {
  const status = sh(`viewfsdctl --socket=${SOCKET} status --json 2>/dev/null || true`)
  if (status === '') return ''
  const { servers: history } = JSON.parse(status)
  return `${history.restarts} ${history.last?.cause}`
}

/** The guest reads on, through the window, whatever `end` does to the server. */
async function outlives(guest: NestedDomain, what: string, end: () => void, then: string): Promise<void> {
  await step(what, async () => {
    end()
    await until(() => servers() === then)
    const sums = Number(await guest.must('wc -l </run/sums'))
    await guest.must(`until [ "$(wc -l </run/sums)" -gt ${sums + 1} ]; do sleep 0.1; done`)
  })
}

export async function windowGuest(): Promise<void> {
  configure()
  const guest = new NestedDomain({ name: 'guest', locks: true, windowSocket: SOCKET })
  writeFileSync(`${guest.data}/from-host`, 'from the host')
  await run('starting the guest through libvirt', `virsh create ${guest.xml}`)
  try {
    await guest.booted()
    const data = await guest.must('mkdir /mnt/d; mount -t virtiofs data /mnt/d; cat /mnt/d/from-host')
    expectMatch('without a window', data, /^from the host$/)
    const sum = sh('sha256sum </srv/window/file')
    const window = await guest.must(
      'mkdir /mnt/w; mount -t virtiofs window /mnt/w -o dax=always; sha256sum </mnt/w/file; grep /mnt/w /proc/mounts',
    )
    expectMatch('with a window', window, new RegExp(`^${sum}\n.*dax=always`))
    process.stdout.write(`${sh(`viewfsdctl --socket=${SOCKET} status`)}\n`)
    // FUSE_DAX_SHIFT: 2 MiB.
    expectMatch(
      'ranges mapped',
      sh(`viewfsdctl --socket=${SOCKET} status --json | tr -d ' \\n'`),
      new RegExp(`"live":[${FILE_BYTES >> 21}-9]`),
    )
    const pids = sh(`cat /sys/fs/cgroup/system.slice/system-viewfsd.slice/${UNIT}/cgroup.procs`).split('\n')
    for (const pid of pids)
      expectMatch('its profile', readFileSync(`/proc/${pid}/attr/current`, 'utf8'), /^viewfsd \(enforce\)/)
    const main = unit('MainPID')
    await guest.must(`(${READER}) </dev/null >/dev/null 2>&1 &`)
    await outlives(guest, 'kill -9 of the server', () => sh(`kill -KILL $(pgrep -n -P ${main})`), '1 SIGKILL')
    await outlives(guest, 'systemctl reload', () => sh(`systemctl reload ${UNIT}`), '2 upgrade')
    expectMatch(
      'the unit',
      `${unit('MainPID')} ${unit('NRestarts')} ${unit('ActiveState')}`,
      new RegExp(`^${main} 0 active$`),
    )
    expectMatch(
      'sums',
      await guest.must('touch /run/stop; until [ -e /run/stopped ]; do sleep 0.1; done; sort -u /run/sums'),
      new RegExp(`^${sum}$`),
    )
    await guest.end()
    await until(() => unit('ActiveState') === 'inactive')
  } finally {
    guest.close()
    process.stdout.write(
      `${sh('journalctl -u "viewfsd@*" --no-pager -o cat; dmesg | grep apparmor | tail -n 20 || true')}\n`,
    )
  }
}
