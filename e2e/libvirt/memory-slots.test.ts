// SPDX-License-Identifier: Apache-2.0
/**
 * QEMU with more memory devices than a whole memory table has regions. No guest runs: QEMU counts the regions that the
 * backend has room for when a device is plugged.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { Qmp } from '../guest/qmp.ts'
import { hostRoot } from '../rig/host-root.ts'
import { checkout } from '../rig/paths.ts'

const DIMMS = 9
const FS_DEVICE = 'vhost-user-fs-pci,tag=data'
const TEST_DEVICE = 'vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=1024,config_size=40'

/** The machine's own QEMU, and that of the rig's root, which runs here with its own libraries. */
async function qemuCommand(which: 'machine' | 'rig'): Promise<string[]> {
  if (which === 'machine') return ['qemu-system-x86_64']
  const { path } = await hostRoot()
  const share = join(path, 'usr/share')
  const loader = [join(path, 'lib64/ld-linux-x86-64.so.2'), '--library-path', join(path, 'usr/lib/x86_64-linux-gnu')]
  const firmware = ['-L', join(share, 'qemu'), '-L', join(share, 'seabios')]
  return [...loader, join(path, 'usr/bin/qemu-system-x86_64'), ...firmware]
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

/** Plugs DIMMs into a virtual machine with a device of ours until one is refused. @returns how many it has then, and the reason */
async function plugDimms(
  which: 'machine' | 'rig',
  device: string,
  daemonArgs: readonly string[] = [],
): Promise<{ dimms: number; refusal: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'viewfsd-dimms-'))
  const [share, socket, control] = [join(directory, 'share'), join(directory, 'socket'), join(directory, 'qmp')]
  mkdirSync(share)
  const own = [`--socket-path=${socket}`, `--shared-dir=${share}`, '--log-level=error']
  const daemon = spawn(process.execPath, [join(checkout, 'dist/server/main.js'), ...own, ...daemonArgs], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  onTestFinished(async () => {
    await end(daemon, 'SIGTERM')
    rmSync(directory, { recursive: true })
  })
  while (!existsSync(socket) && daemon.exitCode === null) await sleep(10)
  const [command = '', ...words] = await qemuCommand(which)
  const machine = '-S -nodefaults -display none -machine q35,accel=tcg -m 256M,slots=16,maxmem=8G -numa node,memdev=ram'
  const devices = {
    '-object': 'memory-backend-memfd,id=ram,size=256M,share=on',
    '-chardev': `socket,id=fs,path=${socket}`,
    '-device': `${device},chardev=fs`,
    '-qmp': `unix:${control},server=on,wait=off`,
  }
  const qemu = spawn(command, [...words, ...machine.split(' '), ...Object.entries(devices).flat()], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  onTestFinished(async () => await end(qemu, 'SIGKILL'))
  const failed = once(qemu, 'exit').then(() => {
    throw new Error('QEMU has ended')
  })
  failed.catch(() => {})
  const qmp = await Promise.race([Qmp.connect(control), failed])
  let refusal = ''
  for (let index = 0; index < DIMMS; index++) {
    const memdev = `memory${index}`
    await qmp.command('object-add', { 'qom-type': 'memory-backend-memfd', id: memdev, size: 128 << 20, share: true })
    try {
      await qmp.command('device_add', { driver: 'pc-dimm', memdev })
    } catch (error) {
      refusal = String(error)
      break
    }
  }
  const plugged = await qmp.command('query-memory-devices')
  return { dimms: Array.isArray(plugged) ? plugged.length : -1, refusal }
}

test.each([
  ['machine', 'vhost-user-fs-pci', FS_DEVICE, []],
  ['rig', 'vhost-user-fs-pci', FS_DEVICE, []],
  ['rig', 'vhost-user-test-device-pci without a window', TEST_DEVICE, ['--tag=data', '--window=none']],
] as const)(`${DIMMS} DIMMs beside the QEMU of the %s and %s`, async (which, _, device, args) => {
  expect(await plugDimms(which, device, args)).toEqual({ dimms: DIMMS, refusal: '' })
})

test('without memory slots there is room for 8 regions, RAM included', async () => {
  const { dimms, refusal } = await plugDimms('rig', FS_DEVICE, ['--configure-mem-slots=off'])
  expect(dimms).toBeLessThan(8)
  expect(refusal).toContain('free memory slots')
})
