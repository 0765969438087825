// SPDX-License-Identifier: Apache-2.0
/**
 * The documents' command blocks that need a window, a QEMU or a guest, executed as they stand there. The nested host is made to
 * look like a reader's: viewfsd in the PATH, /srv/data, and the driver where README.md has it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandBlock } from '../docs/blocks.ts'
import { FsDaemon, startVirtiofsd } from '../guest/daemon.ts'
import { checksumList, pattern } from '../guest/files.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { Guest } from '../guest/guest.ts'
import { sh } from '../guest/host.ts'
import { check, equal, selected, test } from './harness.ts'
import type { Rig } from './session.ts'

const SOCKET = '/run/viewfsd.sock'
const MIB = 1 << 20
const FILE_MIB = 5

interface Result {
  readonly status: number
  readonly output: string
}

/** Runs a script on the host; both streams. */
function onHost(script: string): Result {
  const { status, stdout } = spawnSync('/bin/sh', ['-c', `exec 2>&1; set -e; cd /repo; ${script}`], {
    encoding: 'utf8',
  })
  return { status: status ?? -1, output: stdout }
}

/** Keeps what a block has printed: what the documents say of it can be looked up there. */
function shown(title: string, { output }: Result): void {
  appendFileSync('/out/documents.log', `--- ${title}\n${output}\n`)
}

/** The lines of a transcript that are typed on the host or in the guest. */
function typed(lines: readonly string[], where: 'host' | 'guest'): string[] {
  return lines.filter((line) => line.startsWith(`${where}# `)).map((line) => line.slice(where.length + 2))
}

function prepare(rig: Rig): void {
  const share = join(rig.data, 'share')
  mkdirSync(join(share, 'disk'), { recursive: true })
  writeFileSync(join(share, 'file'), pattern(FILE_MIB * MIB, 7))
  writeFileSync(join(share, 'SUMS'), checksumList(share).list)
  sh(`mkdir -p /srv/data; mount --bind ${share} /srv/data; mount -t tmpfs tmpfs /srv/data/disk; echo x >/srv/data/disk/x
    for name in viewfsd:main viewfsdctl:viewfsdctl; do
      printf '#!/bin/sh\\nexec node /repo/dist/server/%s.js "$@"\\n' \${name#*:} >/usr/bin/\${name%:*}
      chmod +x /usr/bin/\${name%:*}
    done
    cp /out/memory_view.ko /repo
    mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing`)
}

/** A block that a test executes, with what it must print. */
type Expected = readonly [document: string, name: string, printed: RegExp]

/** In the guest that README.md starts, once it has read a file through the window. */
const IN_GUEST: readonly Expected[] = [
  ['doc/troubleshooting.md', 'dax-mount', /^data \/mnt virtiofs \S*dax=always/m],
  ['doc/troubleshooting.md', 'xattr', /Operation not supported/],
]

/** On its host. */
const ON_HOST: readonly Expected[] = [
  ['doc/troubleshooting.md', 'device', /name "vhost-user-test-device-pci"/],
  ['doc/quickstart.md', 'in-use', /^DAX is in use\.$/m],
  ['doc/usage.md', 'looking-inside', /^DAX is in use\.$[^]*^# EOF$/m],
  ['doc/troubleshooting.md', 'dax-file', /\/srv\/data\/file: /],
  ['doc/sizing.md', 'ranges', /^viewfsd_window_ranges [1-9]/m],
  ['doc/troubleshooting.md', 'top', /^requests +\d/m],
  ['doc/tracing.md', 'histogram', /Hits: \d/],
]

/** Starts QEMU by a block with a disk that has nothing to boot, until viewfsd has its frontend. */
async function untilConnected(rig: Rig, document: string, name: string): Promise<void> {
  const dir = join(rig.run, name)
  mkdirSync(dir, { recursive: true })
  sh(`rm -f ${SOCKET}*; qemu-img create -q -f qcow2 ${dir}/guest.qcow2 64M`)
  const [daemon = '', qemu = ''] = commandBlock(document, name)
  // QEMU looks for the socket once.
  const script = `set -e; cd ${dir}; exec >log 2>&1\n${daemon}\nuntil [ -S ${SOCKET} ]; do kill -0 $!; sleep 0.1; done\n${qemu} -display none`
  const child: ChildProcess = spawn('setsid', ['sh', '-c', script], { stdio: 'ignore' })
  const log = (): string => (existsSync(`${dir}/log`) ? readFileSync(`${dir}/log`, 'utf8') : '')
  try {
    for (let tries = 0; !log().includes('"frontend-connected"'); tries++) {
      check(child.exitCode === null && tries < 6000, `no frontend: ${log()}`)
      await sleep(100)
    }
    const { output } = onHost(`viewfsdctl --socket=${SOCKET} status`)
    check(/^frontend +connected/m.test(output), output)
  } finally {
    if (child.pid !== undefined) spawnSync('kill', ['--', `-${child.pid}`])
    for (let tries = 0; existsSync('/run/viewfsd.sock.ctl') && tries < 600; tries++) await sleep(100)
  }
}

export async function documentsSuite(rig: Rig): Promise<void> {
  if (!selected('documents: ')) return
  prepare(rig)
  const byHand = commandBlock('README.md', 'by-hand')
  const [checkLine = '', insmod = '', daemonLine = '', qemuLine = ''] = typed(byHand, 'host')
  const [mount = ''] = typed(byHand, 'guest')

  await test('documents: README.md: the module, and what check says before and after', () => {
    sh('rmmod memory_view')
    const before = onHost(checkLine)
    equal(before.status, 1, before.output)
    equal(onHost(insmod).status, 0, insmod)
    const after = onHost(checkLine)
    shown('check', after)
    equal(after.status, 0, after.output)
  })

  const root = await startVirtiofsd('/run/documents', 'root', makeGuestRoot('/run/documents'), ['--cache=always'])
  const daemon = new FsDaemon('README.md', daemonLine.split(/\s+/), SOCKET, join(rig.run, 'viewfsd.log'))
  await daemon.listening()
  const words = qemuLine.split(/\s+/)
  equal(words.slice(0, 2).join(' '), 'qemu-system-x86_64 ...', 'the beginning of the command')
  const guest = await Guest.boot({
    dir: join(rig.run, 'guest'),
    kernelImage: rig.guestKernel,
    devices: [{ socketPath: root.socketPath, kind: 'fs', tag: 'root' }],
    memoryMiB: 2048,
    memoryGiven: true,
    moreArguments: words.slice(2),
  })

  await test('documents: README.md, doc/usage.md: the guest mounts the share, and has its files', async () => {
    const [fails = '', ...look] = commandBlock('doc/troubleshooting.md', 'mount-fails')
    const refused = await guest.run(`! ${fails}; ${look.join('\n')}`)
    shown('mount-fails', refused)
    check(/virtio-fs: tag <no-such-tag> not found/.test(refused.output), refused.output)
    await guest.must(`${commandBlock('doc/quickstart.md', 'plain-mount').join('\n')} | grep SUMS; umount /mnt`)
    equal(commandBlock('doc/usage.md', 'mount').join('\n'), mount, 'the command of both')
    await guest.must(`${mount}; cd /mnt; sha256sum -c --quiet SUMS; cd /; ls /mnt/disk`)
  })
  for (const [document, name, printed] of IN_GUEST)
    await test(`documents: ${document}: ${name}`, async () => {
      const result = await guest.run(commandBlock(document, name).join('\n'))
      shown(name, result)
      check(printed.test(result.output), result.output)
    })
  for (const [document, name, printed] of ON_HOST)
    await test(`documents: ${document}: ${name}`, () => {
      const result = onHost(commandBlock(document, name).join('\n'))
      shown(name, result)
      equal(result.status, 0, result.output)
      check(printed.test(result.output), result.output)
    })
  await test('documents: doc/troubleshooting.md: forget', async () => {
    await guest.must('sleep 9999 </mnt/disk/x >/dev/null 2>&1 &')
    const [forget = '', umount = ''] = commandBlock('doc/troubleshooting.md', 'forget')
    const busy = onHost(umount)
    check(busy.output.includes('target is busy'), `${busy.status}: ${busy.output}`)
    const result = onHost(`${forget}\n${umount}`)
    shown('forget', result)
    equal(result.status, 0, result.output)
  })
  await test('documents: the guest ends, and the daemon with it', async () => {
    await guest.shutdown()
    equal(await daemon.exited, 'exit status 0', 'the end of the daemon')
    await root.end()
    equal(guest.complaints().join('\n'), '', 'guest kernel log')
  })
  for (const [document, name] of [
    ['doc/usage.md', 'window'],
    ['doc/usage.md', 'without-window'],
  ] as const)
    await test(`documents: ${document}: ${name}`, () => untilConnected(rig, document, name))
}
