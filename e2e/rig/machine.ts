// SPDX-License-Identifier: Apache-2.0
/**
 * One run of the nested host: boots it on the host root's image, runs one command as root in it, powers it off.
 *
 * Everything of a run lives in a mount and pid namespace of its own, so nothing is left behind whichever way it ends:
 *
 *   node ── unshare (pid 1 of the namespace: sh) ─┬─ virtiofsd, shares /repo, /out, /share
 *                                                 └─ outer QEMU ── the nested host
 *
 * What virtiofsd writes into the nested host's memory the emulator does not notice: where it has translated code in a page
 * before, it would go on executing that. So no code comes that way. The root is a disk, which QEMU itself reads; what is shared
 * is mounted noexec, and what has to be executed is copied into memory first.
 */
import {
  copyFileSync,
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atInterrupt, ended, shellQuote, start, stop } from './command.ts'
import { type Cable, outerQemuArgv } from './emulator.ts'
import { breakpointOfOldCode, EMULATOR_FAULT_STATUS, interruptAfterVmrun } from './emulator-fault.ts'
import type { HostRoot } from './host-root.ts'
import { kernelComplaints, logExcerpt } from './kernel-log.ts'
import type { KernelLabel } from './packages.ts'
import { withLock } from './lock.ts'
import { cacheDir, cacheSubdir, checkout } from './paths.ts'
import { say, step, StepError } from './progress.ts'
import { MONITOR, StandstillWatch } from './standstill.ts'

export interface MachineRun {
  readonly kernel: KernelLabel
  /** A vmlinux of this machine to boot in place of that kernel's; all that the host needs must be built in. */
  readonly kernelImage?: string
  /** A shell script; runs in /repo with /out shared writable. Its exit status becomes the run's. */
  readonly script: string
  readonly memoryMiB?: number
  /** Default: USUAL_CPUS. */
  readonly cpus?: number
  readonly timeoutSeconds?: number
  /** Size of the blank disk /dev/vda; it takes room only where it is written. */
  readonly diskMiB?: number
  /** A folder of the machine that appears as /share. */
  readonly share?: { readonly path: string; readonly writable: boolean }
  /** Files of this machine that are copied to /out before the start, by their name there. */
  readonly files?: Readonly<Record<string, string>>
  /** Environment of the script. */
  readonly env?: Readonly<Record<string, string>>
  readonly append?: readonly string[]
  /** Where the run's folder goes; default: one of its own under `<cache>/runs`. */
  readonly dir?: string
  /** Connects this process's terminal to the script's. */
  readonly interactive?: boolean
  /** Gets the script's output as it comes; it is in `output.log` too. */
  readonly onOutput?: (chunk: Buffer) => void
}

export interface MachineResult {
  /** The script's exit status, or undefined when it did not get to its end. */
  readonly status: number | undefined
  readonly timedOut: boolean
  /** What the outer emulator did, where the run ended by its own fault and not the tested code's. */
  readonly emulatorFault: string | undefined
  /** Lines of the kernel log that tell of a bug. */
  readonly complaints: readonly string[]
  /** The run's folder: kernel.log, output.log, emulator.log, virtiofsd.log, perhaps standstill.log, and `out`, the script's /out. */
  readonly dir: string
  readonly seconds: number
}

/**
 * CPUs of a nested host, unless the run asks for more. With two the emulator's faults (emulator-fault.ts) came every ten minutes
 * or so of guests at work, with one once in some 100 minutes. Guests and daemons wait for each other, so it is hardly slower.
 */
export const USUAL_CPUS = 1

/**
 * What a run copies, and host-init.sh copies into memory and mounts over the checkout: what a build replaces, so that building
 * beside a run does not pull the rug from under it, and what is executed, that is, the addon and what vitest loads.
 */
const SNAPSHOT = [
  'dist',
  'native/build',
  'node_modules/@esbuild/linux-x64',
  'node_modules/@rollup/rollup-linux-x64-gnu',
  'node_modules/fuse-native/prebuilds/linux-x64',
] as const

let runCounter = 0

/** A new folder for the logs of one run. */
export function newRunDir(kind: string): string {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '')
  return cacheSubdir('runs', `${stamp}-${process.pid}-${++runCounter}-${kind}`)
}

/** The image of the root, as the emulator in the root folder sees it. */
const ROOT_IMAGE = '/tmp/root.ext4'
/** The folder of the cable there. */
const CABLE = '/tmp/cable'

/** The script of the namespace: mounts, virtiofsd, emulator. Paths under /srv are the run's folder. */
function namespaceScript(root: HostRoot, dir: string, run: MachineRun, cable: CableEnd | undefined): string {
  const version = root.manifest.kernels[run.kernel]
  const q = shellQuote
  const qemu = outerQemuArgv({
    kernelImage: run.kernelImage === undefined ? `/lib/modules/${version}/vmlinux` : '/srv/vmlinux',
    root: ROOT_IMAGE,
    init: [
      '/bin/busybox',
      'sh',
      '-c',
      'mount -t virtiofs -o noexec run /.rig && exec busybox sh /.rig/repo/e2e/guest/host-init.sh',
    ],
    memoryMiB: run.memoryMiB ?? 4096,
    cpus: run.cpus ?? USUAL_CPUS,
    sharedSocket: '/srv/shared.sock',
    sharedTag: 'run',
    kernelLog: '/srv/kernel.log',
    monitor: `/srv/${MONITOR}`,
    disk: '/srv/disk.raw',
    ...(cable === undefined ? {} : { cable: { socket: `${CABLE}/socket`, end: cable.end } }),
    append: run.append ?? [],
  })
  const share = run.share
  return `set -e
ROOT=${q(root.path)}; RUN=${q(dir)}; TREE="$ROOT/tmp/tree"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind "$RUN" "$ROOT/srv"
touch "$ROOT${ROOT_IMAGE}"
mount --bind ${q(root.image)} "$ROOT${ROOT_IMAGE}"
mkdir "$TREE" "$TREE/repo" "$TREE/out" "$TREE/share"
mount --bind ${q(checkout)} "$TREE/repo"; mount -o remount,bind,ro "$TREE/repo"
mount --bind "$RUN/out" "$TREE/out"
${share === undefined ? '' : `mount --bind ${q(share.path)} "$TREE/share"`}
${share === undefined || share.writable ? '' : 'mount -o remount,bind,ro "$TREE/share"'}
${cable === undefined ? '' : `mkdir "$ROOT${CABLE}"; mount --bind ${q(cable.folder)} "$ROOT${CABLE}"`}
chroot "$ROOT" /usr/libexec/virtiofsd --socket-path=/srv/shared.sock --shared-dir=/tmp/tree --sandbox=none \\
  --cache=always --announce-submounts --log-level=warn </dev/null >"$RUN/virtiofsd.log" 2>&1 &
tries=0
until [ -S "$RUN/shared.sock" ]; do
  tries=$((tries + 1)); [ $tries -lt 200 ] || { echo "virtiofsd did not start" >&2; exit 97; }
  sleep 0.05
done
set +e
chroot "$ROOT" ${qemu.map(q).join(' ')} 2>"$RUN/emulator.log"
echo $? >"$RUN/emulator-status"
`
}

function readStatus(path: string): number | undefined {
  if (!existsSync(path)) return undefined
  const text = readFileSync(path, 'utf8').trim()
  return text === '' ? undefined : Number(text)
}

function readLog(path: string): string {
  return existsSync(path) ? readFileSync(path, 'latin1') : ''
}

function readKernelLog(dir: string): string {
  return readLog(join(dir, 'kernel.log')) + readLog(join(dir, 'out', '.dmesg'))
}

function emulatorFault(emulator: number | undefined, session: number | undefined, log: string): string | undefined {
  if (emulator !== undefined && emulator >= 128) return `died of signal ${emulator - 128}`
  if (interruptAfterVmrun(log)) return 'interrupted the nested host where no interrupt can come'
  if (breakpointOfOldCode(log)) return 'executed code that the nested host had replaced'
  // It ends at a reset (-no-reboot); a panic would have left words.
  if (emulator === 0 && session === undefined && kernelComplaints(log).length === 0)
    return 'reset the nested host without a word'
  return session === EMULATOR_FAULT_STATUS ? 'ended a guest' : undefined
}

/** The end of a cable whose socket lies in a folder of the machine. */
interface CableEnd {
  readonly folder: string
  readonly end: Cable['end']
}

/** What ties a nested host to the one that it has a cable to. */
interface Tie {
  readonly cable: CableEnd
  /** Ends the run. */
  readonly lost: AbortSignal
}

async function runOnce(root: HostRoot, run: MachineRun, tie?: Tie): Promise<MachineResult> {
  const dir = run.dir ?? newRunDir(run.kernel)
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(join(dir, 'out'), { recursive: true })
  for (const part of SNAPSHOT)
    cpSync(join(checkout, part), join(dir, 'out/.snapshot', part), {
      recursive: true,
      filter: (path) => !/\/build\/(obj-|asan|fuzz|aarch64)/.test(path),
    })
  writeFileSync(join(dir, 'out/.snapshot/list'), SNAPSHOT.map((part) => `${part}\n`).join(''))
  const disk = join(dir, 'disk.raw')
  writeFileSync(disk, '')
  if (run.kernelImage !== undefined) copyFileSync(run.kernelImage, join(dir, 'vmlinux'))
  for (const [name, source] of Object.entries(run.files ?? {})) copyFileSync(source, join(dir, 'out', name))
  const env = Object.entries(run.env ?? {}).map(([key, value]) => `export ${key}=${shellQuote(value)}\n`)
  writeFileSync(join(dir, 'out', '.command'), `${env.join('')}${run.script}\n`)
  const since = Date.now()
  const script = `truncate -s ${run.diskMiB ?? 16384}M ${shellQuote(disk)}\n${namespaceScript(root, dir, run, tie?.cable)}`
  const child = start(['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script], {
    stdio: [run.interactive ? 'inherit' : 'ignore', run.interactive ? 'inherit' : 'pipe', 'pipe'],
  })
  atInterrupt(() => rmSync(disk, { force: true }))
  const tornAway = (): void => stop(child)
  tie?.lost.addEventListener('abort', tornAway)
  const log = createWriteStream(join(dir, 'output.log'))
  child.stdout?.on('data', (chunk: Buffer) => {
    log.write(chunk)
    run.onOutput?.(chunk)
  })
  child.stderr?.on('data', (chunk: Buffer) => log.write(chunk))
  let stoodStill = false
  const watch = new StandstillWatch(dir, () => {
    // A person at the terminal decides by himself.
    if (run.interactive) return
    stoodStill = true
    stop(child)
  })
  let timedOut = false
  const timer = setTimeout(
    () => {
      timedOut = true
      stop(child)
    },
    (run.timeoutSeconds ?? 600) * 1000,
  )
  const drained = new Promise<void>((resolve) => child.on('close', () => resolve()))
  await ended(child)
  clearTimeout(timer)
  watch.end()
  tie?.lost.removeEventListener('abort', tornAway)
  await drained
  await new Promise<void>((resolve) => log.end(() => resolve()))
  rmSync(disk, { force: true })
  rmSync(join(dir, 'vmlinux'), { force: true })
  rmSync(join(dir, 'out/.snapshot'), { recursive: true, force: true })
  const emulatorStatus = readStatus(join(dir, 'emulator-status'))
  const kernelLog = readKernelLog(dir)
  const status = readStatus(join(dir, 'out', '.status'))
  const complaints = [...new Set(kernelComplaints(kernelLog))]
  // A lockup of a kernel that tells of it is none of the emulator's.
  const silent = stoodStill && status === undefined && complaints.length === 0
  return {
    status,
    timedOut,
    emulatorFault: silent ? 'let the nested host stand still' : emulatorFault(emulatorStatus, status, kernelLog),
    complaints,
    dir,
    seconds: (Date.now() - since) / 1000,
  }
}

/** Boots the nested host and runs the script; again, visibly, when the outer emulator itself was at fault. */
export async function runInMachine(root: HostRoot, run: MachineRun): Promise<MachineResult> {
  return withKernels([run.kernel], () =>
    repeating(async () => {
      const result = await runOnce(root, run)
      // A person at the terminal may have powered it off.
      return { result, fault: run.interactive ? undefined : result.emulatorFault }
    }),
  )
}

/** The same with two nested hosts of different kernels, from the network card of one of which a cable goes to that of the other. */
export async function runInTwoMachines(
  root: HostRoot,
  runs: readonly [MachineRun, MachineRun],
): Promise<MachineResult[]> {
  return withKernels(
    runs.map(({ kernel }) => kernel),
    () =>
      repeating(async () => {
        const cables = mkdtempSync(join(tmpdir(), 'viewfsd-cable-'))
        const lost = new AbortController()
        const ends = runs.map(async (run, index) => {
          const result = await runOnce(root, run, {
            cable: { folder: cables, end: index === 0 ? 1 : 2 },
            lost: lost.signal,
          })
          // It can't tell the other one any more, which would wait.
          if (result.status === undefined) lost.abort()
          return result
        })
        try {
          const result = await Promise.all(ends)
          return { result, fault: result.find(({ emulatorFault: fault }) => fault !== undefined)?.emulatorFault }
        } finally {
          rmSync(cables, { recursive: true })
        }
      }),
  )
}

/**
 * One nested host of a kernel at a time: each keeps more than a CPU busy, and a time limit is to mean that something hangs. Who takes
 * several takes them in the same order as everybody.
 */
function withKernels<T>(kernels: readonly KernelLabel[], work: () => Promise<T>): Promise<T> {
  const [first, ...rest] = kernels.toSorted()
  if (first === undefined) return work()
  return withLock(join(cacheDir, `nested-host-${first}.lock`), () => withKernels(rest, work))
}

/** Runs that may be lost to the emulator, in a row. */
const ATTEMPTS = 3

async function repeating<T>(attempt: () => Promise<{ result: T; fault: string | undefined }>): Promise<T> {
  for (let number = 1; ; number++) {
    const { result, fault } = await attempt()
    if (fault === undefined || number === ATTEMPTS) return result
    say(`the outer emulator ${fault} (not a test failure); running it again`)
  }
}

/** Turns the end of a run into an error unless all of it was well: status 0, in time, a clean kernel log. */
export function checkRun(what: string, result: MachineResult): void {
  const where = `${result.dir}/{output,kernel,emulator}.log`
  const fail = (how: string, lines: readonly string[] = []): never => {
    throw new StepError([`${what} ${how}`, ...lines].join('\n    '), where)
  }
  const excerpt = () => logExcerpt(readKernelLog(result.dir))
  if (result.timedOut) fail(`ran out of time after ${result.seconds.toFixed(0)} s`, excerpt())
  if (result.emulatorFault !== undefined)
    fail(`failed ${ATTEMPTS} times: the outer emulator ${result.emulatorFault}`, excerpt())
  if (result.complaints.length > 0)
    fail('left complaints in the kernel log:', [...result.complaints.slice(0, 10), 'there:', ...excerpt()])
  if (result.status === undefined) fail('did not get to its end: the nested host ended first', excerpt())
  if (result.status !== 0) fail(`failed with exit status ${result.status}`)
}

/** A run that has to be well, as a step of its own; says where its logs are. */
export async function runAsStep(title: string, root: HostRoot, run: MachineRun): Promise<void> {
  await step(title, async () => {
    const result = await runInMachine(root, run)
    checkRun(title, result)
    say(`logs: ${result.dir}`)
  })
}
