// SPDX-License-Identifier: Apache-2.0
/**
 * Files that the host can't read, write or make room for while a guest uses them, by mmap, read() and write(): no VM stops,
 * nobody sees a wrong byte, and when all is well again nothing is missing.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FailingFs, isWhole } from './failing-file-systems.ts'
import { check, count, equal, test } from './harness.ts'
import type { TestGuest } from './test-guest.ts'

/** Far longer than anything here takes: btrfs looks for room for seconds, on a machine that is emulated. */
const PATIENCE_MS = 300_000

/** Waits, as long as the VM runs. */
async function until(vm: TestGuest, done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const limit = Date.now() + PATIENCE_MS
  while (!(await done())) {
    const status = await vm.guest.qmp.hmp('info status')
    check(status.includes('running'), `${what}: the VM has stopped: ${status}`)
    check(Date.now() < limit, `${what}: not within ${PATIENCE_MS / 1000} s`)
    await sleep(100)
  }
}

/** The guest stands still meanwhile, so that it can't be faster than what fails. */
async function begin(vm: TestGuest, failing: readonly FailingFs[]): Promise<void> {
  await vm.guest.qmp.command('stop')
  try {
    for (const fs of failing) await fs.begin()
  } finally {
    await vm.guest.qmp.command('cont')
  }
}

/** All is well again: no sink page is left, and what the guest stored has got to its file. */
async function end(vm: TestGuest, failing: readonly FailingFs[]): Promise<void> {
  for (const fs of failing) await fs.end()
  for (const fs of failing) await until(vm, () => isWhole(fs), `${fs.name}: what the guest stored is in the file`)
  await until(vm, async () => count(await vm.counters(), 'window.sinkPages') === 0, 'no sink page is left')
}

/** Has the guest use the files while `work` is under way: with a mapping, and with read() and write(). */
async function inUse(vm: TestGuest, dir: string, used: readonly FailingFs[], work: () => Promise<void>): Promise<void> {
  const { guest } = vm
  const checkers = used.flatMap((fs) =>
    ['survive', 'reread'].map((how) => ({ fs, how, log: `/tmp/${how}-${fs.name}` })),
  )
  await guest.must(
    checkers
      .map(
        ({ fs, how, log }) =>
          `/root/dax-io ${how} ${dir}/${fs.name}/file ${dir}/stop >${log} 2>&1 & echo $! >${log}.pid`,
      )
      .join('\n'),
  )
  for (const fs of used) await until(vm, () => isWhole(fs), `${fs.name}: the guest has been everywhere`)
  await work()
  const said = await guest.must(`touch ${dir}/stop
    for log in ${checkers.map(({ log }) => log).join(' ')}; do
      while kill -0 $(cat $log.pid) 2>/dev/null; do sleep 0.1; done; cat $log
    done; rm ${dir}/stop
    sha256sum ${used.map((fs) => `${dir}/${fs.name}/file`).join(' ')}`)
  const lines = said.split('\n')
  for (const [index, { fs, how }] of checkers.entries()) {
    const line = lines[index] ?? ''
    // Where nobody may notice, no access has failed.
    check((fs.loss === undefined ? /^\d+ 0$/ : /^\d+ \d+$/).test(line), `${fs.name}: ${how} says: ${line}`)
  }
  for (const [index, fs] of used.entries()) {
    const sum = createHash('sha256').update(fs.expected).digest('hex')
    equal(lines[checkers.length + index]?.slice(0, sum.length), sum, `${fs.name}: the guest's file`)
    check(isWhole(fs), `${fs.name}: the host's file`)
  }
}

async function failOnce(vm: TestGuest, fs: FailingFs): Promise<void> {
  const { loss } = fs
  const before = await vm.counters()
  await begin(vm, [fs])
  if (loss !== undefined)
    await until(vm, async () => count(await vm.counters(), loss) > count(before, loss), `${fs.name}: ${loss}`)
  await end(vm, [fs])
}

/**
 * Each fails once by itself, and then all of them at once, again and again.
 * @param dir the folder of the file systems as the guest has it
 * @param seconds for how long, at least
 */
export async function failingFiles(
  vm: TestGuest,
  dir: string,
  all: readonly FailingFs[],
  seconds: number,
): Promise<void> {
  await test('dax: files that fail in every way, one after the other and all at once, stop no VM', () =>
    inUse(vm, dir, all, async () => {
      const stop = Date.now() + seconds * 1000
      const before = await vm.counters()
      for (const fs of all) await failOnce(vm, fs)
      let rounds = 0
      for (; rounds === 0 || Date.now() < stop; rounds++) {
        await begin(vm, all)
        await sleep(1000)
        await end(vm, all)
      }
      const after = await vm.counters()
      const more = (name: string) => count(after, name) - count(before, name)
      process.stdout.write(
        `# all at once ${rounds} times: ${more('window.sinks')} sink pages, ${more('window.lostWrites')} lost writes, ${more('window.readErrors')} read errors\n`,
      )
    }))
}
