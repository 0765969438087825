// SPDX-License-Identifier: Apache-2.0
/**
 * Files that the host truncates, extends, punches and replaces while the guest uses them, by mmap, read() and write(): no VM
 * stops, and nobody sees a wrong byte.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sh } from '../guest/host.ts'
import { check, count, equal, test } from './harness.ts'
import type { TestGuest } from './test-guest.ts'

const PAGE = 4096
const PAGES = (4 * (2 << 20)) / PAGE
const ROUNDS = 24

/** Pages `first` to `end` of a file, each with its number in its first word. */
function stampedPages(first: number, end: number): Buffer {
  const bytes = Buffer.alloc((end - first) * PAGE)
  for (let page = first; page < end; page++) bytes.writeBigUInt64LE(BigInt(page), (page - first) * PAGE)
  return bytes
}

/** Takes pages from `first` on away from a file, and then gives them back. */
async function takeAway(path: string, first: number, how: 'truncate' | 'punch'): Promise<void> {
  const fd = openSync(path, 'r+')
  if (how === 'truncate') ftruncateSync(fd, first * PAGE)
  else sh(`fallocate --punch-hole --offset ${first * PAGE} --length ${(PAGES - first) * PAGE} ${path}`)
  await sleep(100)
  writeSync(fd, stampedPages(first, PAGES), 0, (PAGES - first) * PAGE, first * PAGE)
  closeSync(fd)
}

function checkPages(path: string): void {
  const bytes = readFileSync(path)
  for (let page = 0; page < PAGES; page++)
    equal(Number(bytes.readBigUInt64LE(page * PAGE)), page, `the first word of page ${page} of ${path}`)
}

/**
 * @param dir what the guest has at /mnt
 * @param seconds for how long, at least
 */
export async function changingFiles(vm: TestGuest, dir: string, seconds: number): Promise<void> {
  await test('dax: files that the host changes under the guest stop no VM and show no wrong byte', async () => {
    const { guest } = vm
    const moving = join(dir, 'moving')
    const replaced = join(dir, 'replaced')
    for (const path of [moving, replaced]) writeFileSync(path, stampedPages(0, PAGES))
    const before = await vm.counters()
    await guest.must(`/root/dax-io survive /mnt/moving /mnt/stop-moving >/tmp/survived 2>&1 & echo $! >/tmp/survivors
/root/dax-io reread /mnt/replaced /mnt/stop-moving >/tmp/reread 2>&1 & echo $! >>/tmp/survivors`)
    // It maps as much as there is then.
    await guest.must('until grep -q /mnt/moving /proc/$(head -n 1 /tmp/survivors)/maps; do sleep 0.1; done')
    const none = count(before, 'window.sinks')
    const end = Date.now() + seconds * 1000
    // The guest believes in the old size for a second; until then it goes where the file ends no more. Where it is too slow for
    // that, it gets more rounds.
    const goesOn = async (round: number): Promise<boolean> =>
      round < ROUNDS || Date.now() < end || (round < 10 * ROUNDS && count(await vm.counters(), 'window.sinks') === none)
    for (let round = 0; await goesOn(round); round++) {
      await takeAway(moving, (round * 37) % PAGES, round % 3 === 2 ? 'punch' : 'truncate')
      writeFileSync(`${replaced}.new`, stampedPages(0, PAGES))
      renameSync(`${replaced}.new`, replaced)
      if (round % 2 === 0) await takeAway(replaced, (round * 53) % PAGES, 'truncate')
      await sleep(50)
    }
    writeFileSync(join(dir, 'stop-moving'), '')
    await guest.must(
      'for survivor in $(cat /tmp/survivors); do while kill -0 $survivor 2>/dev/null; do sleep 0.2; done; done',
    )
    for (const name of ['survived', 'reread']) {
      const said = await guest.must(`cat /tmp/${name}`)
      check(/^\d+ \d+\s*$/.test(said), `${name}: the checker says: ${said}`)
    }
    const after = await vm.counters()
    check(count(after, 'window.sinks') > none, 'no sink page was needed: nothing has been tested')
    equal(count(after, 'window.sinkPages'), 0, 'sink pages where the file has data')
    equal(count(after, 'window.lostWrites'), 0, 'lost writes')
    for (const path of [moving, replaced]) checkPages(path)
    await guest.must(
      'rm /mnt/stop-moving; sleep 1; (sleep 3; touch /mnt/stop-moving) & /root/dax-io survive /mnt/moving /mnt/stop-moving',
    )
  })
}
