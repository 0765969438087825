// SPDX-License-Identifier: Apache-2.0
/** The part of the sizing benchmark that runs in the nested host. Options come as JSON in VIEWFSD_BENCH. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startViewfsd } from '../guest/daemon.ts'
import { pattern } from '../guest/files.ts'
import type { Guest } from '../guest/guest.ts'
import { loadModules, mountDisk } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, step } from '../rig/progress.ts'
import { bootContender, type Contender, endContender, takeTurn } from './contender.ts'
import { FILE_SETS, type FileSample, WINDOWS_MIB, type WindowSample } from './sizing.ts'

/** What bench-sizing.ts asks for. */
export interface SizingOptions {
  readonly runs: number
}

/** Longer than any takes under the emulator. */
const TIMEOUT_MS = 1_800_000
const SHARE = '/data/files'
const MOUNT = 'mount -t virtiofs data /mnt -o'

async function boot(windowMiB: number): Promise<Contender<number>> {
  const dir = `/out/bench/${windowMiB}`
  mkdirSync(dir, { recursive: true })
  const args = ['--window=memory-view', `--window-size=${windowMiB}M`]
  const start = () => startViewfsd(dir, 'data', SHARE, args)
  return bootContender(windowMiB, `window-${windowMiB}`, dir, { kind: 'generic', start })
}

/** MemFree of the guest as it has booted, and after the mount. */
async function windowMemory(guest: Guest, windowMiB: number): Promise<WindowSample> {
  const output =
    await guest.must(`left() { sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; awk '/^MemFree:/ {print $2}' /proc/meminfo; }
    left >/dev/null; a=$(left); ${MOUNT} dax=always; b=$(left); umount /mnt
    echo free: $a mount: $((a - b)); grep memmap /proc/vmstat`)
  process.stdout.write(`${output}\n`)
  const [, free, mount] = /free: (\d+) mount: (-?\d+)/.exec(output) ?? []
  return { windowMiB, freeKiB: Number(free), mountKiB: Number(mount) }
}

async function readFiles(guest: Guest, dax: boolean, set: (typeof FILE_SETS)[number]): Promise<FileSample> {
  const output = await guest.must(
    `now() { date +%s%N; }; cached() { awk '/^Cached:/ {print $2}' /proc/meminfo; }
    sync; echo 3 >/proc/sys/vm/drop_caches
    ${MOUNT} dax=${dax ? 'always' : 'never'}; cd /mnt/${set.sizeKiB}; ls >/dev/null
    before=$(cached); a=$(now); cat * >/dev/null; b=$(now); cat * >/dev/null; c=$(now)
    echo first: $((b - a)) again: $((c - b)) cached: $(($(cached) - before)); cd /; umount /mnt`,
    TIMEOUT_MS,
  )
  const [, first, again, cached] = /first: (\d+) again: (\d+) cached: (-?\d+)/.exec(output) ?? []
  return {
    dax,
    ...set,
    firstSeconds: Number(first) / 1e9,
    againSeconds: Number(again) / 1e9,
    cachedKiB: Number(cached),
  }
}

function makeFiles(): void {
  for (const { sizeKiB, files } of FILE_SETS) {
    const dir = join(SHARE, String(sizeKiB))
    mkdirSync(dir, { recursive: true })
    const bytes = pattern(sizeKiB << 10, sizeKiB)
    for (let file = 0; file < files; file++) writeFileSync(join(dir, String(file)), bytes)
  }
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench-sizing.ts of this same build
  const { runs } = JSON.parse(process.env['VIEWFSD_BENCH'] ?? '') as SizingOptions
  loadModules()
  mountDisk('ext4')
  makeFiles()
  const windows: WindowSample[] = []
  const files: FileSample[] = []
  const save = (): void => writeFileSync('/out/samples.json', JSON.stringify({ windows, files }))
  for (const windowMiB of WINDOWS_MIB) {
    const contender = await boot(windowMiB)
    await takeTurn(contender, async (guest) => {
      for (let run = 1; run <= runs; run++) windows.push(await windowMemory(guest, windowMiB))
      save()
      // One guest, and so one device, for both: files that are not in the window come through the same queue.
      if (windowMiB === 1024)
        for (let run = 1; run <= runs; run++)
          for (const set of FILE_SETS)
            await step(`files of ${set.sizeKiB} KiB, run ${run} of ${runs}`, async () => {
              for (const dax of [false, true]) files.push(await readFiles(guest, dax, set))
              save()
            })
    })
    await endContender(contender)
  }
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
