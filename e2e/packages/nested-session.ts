// SPDX-License-Identifier: Apache-2.0
/**
 * Runs in the nested host that nested-host.ts boots, with the packages installed: loads the module, and starts a guest through libvirt, whose root
 * and data are shares that libvirt starts viewfsd for, and which has a window besides, of a unit's daemon.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent } from '../guest/agent.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { connectPatiently } from '../guest/qmp.ts'
import { domainXml } from '../libvirt/domain.ts'
import { runMain, step } from '../rig/progress.ts'

const FILE_BYTES = 8 << 20
const TOKEN = 'packages'
const BOOT_TIMEOUT_MS = 900_000
/** What is left of the packages, outside of what systems write for themselves. */
const LEFT = `find / -xdev \\( ${['/dev', '/etc/apt', '/etc/dpkg', '/out', '/proc', '/repo', '/run', '/share', '/sys', '/tmp', '/var/log'].map((path) => `-path ${path}`).join(' -o ')} \\) -prune -o -print | grep -i 'viewfsd\\|memory.view' || true`

function sh(script: string): string {
  return execFileSync('/bin/sh', ['-ec', script], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
}

function run(what: string, script: string): Promise<string> {
  return step(what, async () => sh(script))
}

function expectMatch(what: string, text: string, pattern: RegExp): void {
  if (!pattern.test(text)) throw new Error(`${what}: ${text} is not ${pattern}`)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 200))
}

async function guest(): Promise<void> {
  for (const path of ['/srv/window', '/srv/data', '/tmp/guest']) mkdirSync(path, { recursive: true })
  writeFileSync('/srv/window/file', Buffer.alloc(FILE_BYTES, 'window'))
  writeFileSync('/srv/data/from-host', 'from the host')
  sh(`mkdir -p /etc/systemd/system/viewfsd@.socket.d
    printf '[Socket]\\nSocketGroup=kvm\\nSocketMode=0660\\n' >/etc/systemd/system/viewfsd@.socket.d/qemu.conf
    printf 'VIEWFSD_OPTIONS="--shared-dir=/srv/window --tag=window --window=memory-view --window-size=256M"\\n' >/etc/viewfsd/window.conf
    systemctl daemon-reload
    systemctl start viewfsd@window.socket`)
  const domain = '/tmp/guest/domain.xml'
  const kernel = sh('uname -r')
  writeFileSync(
    domain,
    domainXml({
      name: 'guest',
      type: 'kvm',
      kernelImage: `/lib/modules/${kernel}/vmlinux`,
      commandLine: `console=ttyS0 loglevel=5 panic=-1 mitigations=off root=root rootfstype=virtiofs rw init=/sbin/viewfsd-guest-init viewfsd.token=${TOKEN}`,
      program: '/usr/libexec/viewfsd',
      rootDir: makeGuestRoot('/tmp/guest'),
      dataDir: '/srv/data',
      consoleLog: '/var/log/libvirt/qemu/console.log',
      agentSocket: '/tmp/guest/agent.sock',
      windowSocket: '/run/viewfsd/window.sock',
    }),
  )
  await run('starting the guest through libvirt', `virsh create ${domain}`)
  const agent = new Agent(await connectPatiently('/tmp/guest/agent.sock', BOOT_TIMEOUT_MS), TOKEN)
  try {
    await step('booting the guest', () => agent.ready(BOOT_TIMEOUT_MS))
    const inGuest = async (script: string): Promise<string> => {
      const { status, output } = await agent.run(script)
      if (status !== 0) throw new Error(`${script} in the guest: ${status}, ${output}`)
      return output.trim()
    }
    const data = await inGuest('mkdir /mnt/d; mount -t virtiofs data /mnt/d; cat /mnt/d/from-host')
    expectMatch('without a window', data, /^from the host$/)
    const sum = sh('sha256sum </srv/window/file')
    const window = await inGuest(
      'mkdir /mnt/w; mount -t virtiofs window /mnt/w -o dax=always; sha256sum </mnt/w/file; grep /mnt/w /proc/mounts',
    )
    expectMatch('with a window', window, new RegExp(`^${sum}\n.*dax=always`))
    const ctl = 'viewfsdctl --socket=/run/viewfsd/window.sock'
    process.stdout.write(`${sh(`${ctl} status`)}\n`)
    // FUSE_DAX_SHIFT: 2 MiB.
    expectMatch(
      'ranges mapped',
      sh(`${ctl} status --json | tr -d ' \\n'`),
      new RegExp(`"live":[${FILE_BYTES >> 21}-9]`),
    )
    const unit = sh('cat /sys/fs/cgroup/system.slice/system-viewfsd.slice/viewfsd@window.service/cgroup.procs').split(
      '\n',
    )
    for (const pid of unit)
      expectMatch('its profile', readFileSync(`/proc/${pid}/attr/current`, 'utf8'), /^viewfsd \(enforce\)/)
    agent.post('busybox poweroff -f')
    await step('the end of the guest', () => until(() => sh('virsh list --name') === ''))
    await until(() => sh('systemctl show -P ActiveState viewfsd@window.service') === 'inactive')
  } finally {
    agent.close()
    process.stdout.write(
      `${sh('journalctl -u "viewfsd@*" --no-pager -o cat; dmesg | grep apparmor | tail -n 20 || true')}\n`,
    )
  }
}

async function main(): Promise<number> {
  const versions = sh(
    'systemctl --version | head -n 1; libvirtd --version; qemu-system-x86_64 --version | head -n 1; uname -r',
  )
  process.stdout.write(`${versions}\n`)
  const status = sh('dkms status')
  process.stdout.write(`${status}\n`)
  for (const kernel of readdirSync('/usr/lib/modules'))
    expectMatch('DKMS', status, new RegExp(`memory-view/[^ ]+, ${kernel.replaceAll('+', '\\+')}, .*: installed`))
  await run('loading it', 'modprobe memory_view && udevadm settle')
  expectMatch('its device', sh('stat -c "%U %G %a" /dev/memory-view'), /^root memory-view 660$/)
  sh('apparmor_parser -r /etc/apparmor.d/viewfsd')
  expectMatch('viewfsd check', sh('viewfsd check || true'), /can do a window/)
  await guest()
  await run(
    'purging',
    `systemctl stop 'viewfsd@*.socket'; modprobe -r memory_view
     rm -r /etc/viewfsd/window.conf /etc/systemd/system/viewfsd@.socket.d
     dpkg -P viewfsd memory-view-dkms >>/out/dpkg.log 2>&1`,
  )
  expectMatch('left behind', sh(LEFT), /^$/)
  return 0
}

runMain(main)
