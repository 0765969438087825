// SPDX-License-Identifier: Apache-2.0
/**
 * The part of `npm run test:power-cuts` that runs in the nested host. A guest's witnesses write into a share whose file system
 * lies on dm-log-writes; whatever they have been told to be on the disk is marked there. Then the disk is made anew as a power
 * cut at some entry of the log has left it, mounted, and each witness's files are looked at. Options come as JSON in VIEWFSD_POWER_CUTS.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { startVirtiofsd, startViewfsd, type Viewfsd } from '../guest/daemon.ts'
import { Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel, loadModules, sh } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, say, step } from '../rig/progress.ts'
import { type LogEntry, readLog, replay } from './write-log.ts'
import { type Witness, WITNESSES } from './witnesses.ts'

/** What power-cuts.ts asks for. */
export interface PowerCutOptions {
  readonly fileSystem: 'ext4' | 'xfs' | 'btrfs'
  /** Through a window, or through requests alone. */
  readonly window: boolean
  readonly steps: number
  readonly cuts: number
  /** Of the choice of cuts. */
  readonly seed: number
}

const DISKS = '/dev/shm/power-cuts'
const SHARE = '/run/share'
const DATA = join(DISKS, 'data')
const LOG = join(DISKS, 'log')
/** XFS and btrfs have none smaller. */
const DATA_MIB = 512
const LOG_MIB = 2048
const MKFS = {
  ext4: 'mkfs.ext4 -q -F -E lazy_itable_init=0,nodiscard',
  xfs: 'mkfs.xfs -q -f -K',
  btrfs: 'mkfs.btrfs -q -f -K',
}
/** A snapshot that an earlier cut's check has left may have the same UUID. */
const MOUNT = { ext4: '', xfs: '-o nouuid', btrfs: '' }
const TIMEOUT_MS = 600_000
/** The mark where the daemon was killed. */
const KILLED = 'killed'

/** Makes the disks and the file system with what the witnesses begin with; it is mounted on the logged device at the end. */
function prepare({ fileSystem }: PowerCutOptions): void {
  mkdirSync(DISKS, { recursive: true })
  mkdirSync(SHARE, { recursive: true })
  sh(`modprobe loop; modprobe dm-log-writes; modprobe ${fileSystem} 2>/dev/null || true
    mount -o remount,size=90% /dev/shm
    truncate -s ${DATA_MIB}M ${DATA}; truncate -s ${LOG_MIB}M ${LOG}
    ${MKFS[fileSystem]} ${DATA}
    mount -o loop ${DATA} ${SHARE}`)
  for (const { name, prepare: script } of WITNESSES) {
    say(`${name} ...`)
    sh(script?.(SHARE) ?? 'true')
  }
  // What the log begins with.
  sh(`umount ${SHARE}; cp --sparse=always ${DATA} ${DISKS}/base
    losetup /dev/loop0 ${DATA}; losetup /dev/loop1 ${LOG}
    dmsetup create power-cuts --noudevsync --table "0 $(blockdev --getsz /dev/loop0) log-writes /dev/loop0 /dev/loop1"
    dmsetup mknodes power-cuts
    mount /dev/mapper/power-cuts ${SHARE}`)
}

function mark(text: string): void {
  sh(`dmsetup message power-cuts 0 mark ${text}`)
}

async function boot(options: PowerCutOptions): Promise<{ guest: Guest; daemon: Viewfsd }> {
  const dir = '/out/power-cuts'
  mkdirSync(dir, { recursive: true })
  const root = makeGuestRoot('/run/power-cuts')
  sh(`tar -C ${root} -xf /out/programs.tar`)
  const rootDaemon = await startVirtiofsd(dir, 'root', root, ['--cache=always'])
  const window = options.window ? ['--window=memory-view', '--window-size=128M'] : ['--window=none']
  const daemon = await startViewfsd(dir, 'data', SHARE, [...window, '--on-crash=restart'])
  const guest = await Guest.boot({
    dir,
    kernelImage: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
    devices: [
      { socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' },
      { socketPath: daemon.socketPath, kind: options.window ? 'generic' : 'fs', tag: 'data' },
    ],
  })
  await guest.must(`mount -t virtiofs ${options.window ? '-o dax=always' : ''} data /mnt`)
  for (const { begin } of WITNESSES) await guest.must(begin ?? 'true', TIMEOUT_MS)
  return { guest, daemon }
}

/** All write at once, and the daemon is killed meanwhile: what has been marked before has to be there all the same. */
async function killDaemon(guest: Guest, daemon: Viewfsd, next: number): Promise<void> {
  guest.agent.post(WITNESSES.map(({ act }) => `( ${act(next)} ) </dev/null >/dev/null 2>&1 &`).join('\n'))
  await new Promise((resolve) => setTimeout(resolve, 300))
  daemon.process.kill('SIGKILL')
  await daemon.exited
  mark(KILLED)
  await guest.kill()
}

/** How far each witness had come before an entry of the log: the last step that was marked. */
function stepsBefore(entries: readonly LogEntry[], end: number): Map<string, number> {
  const steps = new Map<string, number>()
  for (const { mark: text } of entries.slice(0, end)) {
    const [, name = '', number] = /^(.+):(\d+)$/.exec(text ?? '') ?? []
    if (number !== undefined) steps.set(name, Number(number))
  }
  return steps
}

/** A linear congruential generator: the same cuts for the same seed. */
function* randomNumbers(seed: number): Generator<number> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state / 2 ** 32
  }
}

/** Half of the cuts right after marks, where the least time was left; the others anywhere. The log's end is one of them. */
function chooseCuts(entries: readonly LogEntry[], { cuts, seed }: PowerCutOptions): number[] {
  const marks = entries.flatMap(({ mark: text }, index) => (text === undefined ? [] : [index]))
  const random = randomNumbers(seed)
  const chosen = new Set([entries.length])
  while (chosen.size < Math.min(cuts, entries.length)) {
    const places = chosen.size % 2 === 0 ? marks : entries.map((_, index) => index)
    const place = places[Math.trunc(Number(random.next().value) * places.length)]
    if (place !== undefined) chosen.add(place)
  }
  return [...chosen].toSorted((a, b) => a - b)
}

/** What each witness has to complain of the file system that is mounted at `dir`. */
function complaints(witnesses: readonly Witness[], dir: string, steps: ReadonlyMap<string, number>): string[] {
  return witnesses.flatMap(({ name, check }) => {
    const last = steps.get(name) ?? -1
    const wrong = check(dir, last)
    return wrong === undefined ? [] : [`${name}, step ${last}: ${wrong}`]
  })
}

function lookAtCuts(options: PowerCutOptions): number {
  const log = openSync(LOG, 'r')
  const all = readLog(log)
  // What the last unmount has written is no power cut's business.
  const entries = all.slice(0, all.findIndex(({ mark: text }) => text === KILLED) + 1)
  const cuts = chooseCuts(entries, options)
  say(`${entries.length} entries in the log, ${cuts.length} cuts (seed ${options.seed})`)
  const disk = join(DISKS, 'cut')
  const mountPoint = '/run/cut'
  mkdirSync(mountPoint, { recursive: true })
  let done = 0
  let failed = 0
  for (const [index, cut] of cuts.entries()) {
    const base = openSync(join(DISKS, 'base'), 'r+')
    replay(log, entries.slice(done, cut), base)
    closeSync(base)
    done = cut
    const steps = stepsBefore(entries, cut)
    sh(`cp --sparse=always ${DISKS}/base ${disk}; mount -o loop ${disk} ${mountPoint} ${MOUNT[options.fileSystem]}`)
    const wrong = complaints(WITNESSES, mountPoint, steps)
    sh(`umount ${mountPoint}; rm ${disk}`)
    if (wrong.length > 0) failed++
    const verdict = wrong.length === 0 ? 'ok' : 'not ok'
    say(
      `${verdict} ${index + 1} - cut at ${cut} of ${entries.length}, ${[...steps.values()].reduce((sum, n) => sum + n + 1, 0)} steps marked`,
    )
    for (const line of wrong) say(`  # ${line}`)
  }
  say(`${cuts.length - failed} of ${cuts.length} power cuts have lost nothing`)
  return failed
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by power-cuts.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_POWER_CUTS'] ?? '') as PowerCutOptions
  loadModules()
  sh('tar -C / -xf /out/programs.tar')
  await step('making the disks', async () => prepare(options))
  const { guest, daemon } = await step('booting a guest', () => boot(options))
  await step(`${options.steps} steps of ${WITNESSES.length} witnesses`, async () => {
    for (let number = 0; number < options.steps; number++) {
      for (const [index, { name, act }] of WITNESSES.entries()) {
        await guest.must(act(number), TIMEOUT_MS)
        // Nothing that one has been told depends on the server's memory.
        if (index === number % WITNESSES.length) process.kill(daemon.server(), 'SIGKILL')
        mark(`${name}:${number}`)
      }
    }
  })
  await killDaemon(guest, daemon, options.steps)
  sh(`umount ${SHARE}; dmsetup remove power-cuts; losetup -d /dev/loop1; losetup -d /dev/loop0`)
  return lookAtCuts(options) === 0 ? 0 : 1
}

runMain(() => emulatorFaultAsStatus(main))
