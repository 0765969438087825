// SPDX-License-Identifier: Apache-2.0
/**
 * The part of `npm run test:long` that runs in the nested host: two guests, each with a daemon and a window of its own, use one directory
 * while the daemons' servers are killed and replaced. Options come as JSON in VIEWFSD_LONG_RUN.
 *
 * Four stretches, after each of which both guests drop their caches: so the daemons must have no more than they had after the one before.
 *
 *   warm-up | with kills || settling | without
 *           ^ new server ^           ^         ^ the same server
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Viewfsd } from '../guest/daemon.ts'
import { guestKernel, loadModules, mountDisk, sh } from '../guest/host.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, say, step } from '../rig/progress.ts'
import { check, equal, finish, test } from '../tests/harness.ts'
import { TestGuest } from '../tests/test-guest.ts'
import { GuestLoad, prepareShare } from './load.ts'
import { flat, growth, type Margins, type Sample, takeSample, watchDaemon } from './sample.ts'

/** What long-run.ts asks for. */
export interface LongRunOptions {
  /** Under load; what lies between comes on top of it. */
  readonly seconds: number
}

const HANG_MS = 1_800_000
/** Until what a daemon has is twice the same. */
const SETTLING_MS = 5_000
/** Between two kills, with a random half more or less. */
const KILL_EVERY_MS = 30_000

/** What a new server, and who outlives it, may have more than another one had before it. */
const OF_ANOTHER: Margins = {
  'launcher.anonKiB': 64,
  'first.anonKiB': 64,
  'starter.anonKiB': 64,
  'keeper.anonKiB': 256,
  'server.anonKiB': 4096,
  // Once: the log of what requests have got for the guest fills as they come (native/host/given_log.h).
  sharedKiB: 512,
  kernelKiB: 256,
}
/** What the same server may have more than before. */
const OF_THE_SAME: Margins = { ...OF_ANOTHER, 'server.anonKiB': 4096 }

type End = 'kill' | 'upgrade' | 'SIGHUP'

class Party {
  readonly name: string
  readonly vm: TestGuest
  readonly load: GuestLoad
  readonly ends: Record<End, number> = { kill: 0, upgrade: 0, SIGHUP: 0 }

  constructor(vm: TestGuest, who: number) {
    this.name = `daemon-${who}`
    this.vm = vm
    this.load = new GuestLoad(vm, who)
    watchDaemon(this.name, vm.daemon)
  }

  get daemon(): Viewfsd {
    return this.vm.daemon
  }

  get ended(): number {
    return this.ends.kill + this.ends.upgrade + this.ends.SIGHUP
  }

  #restarts(): number {
    return this.daemon.log().split('"server-restarted"').length - 1
  }

  /** Ends the server, and waits for the next one. */
  async replaceServer(how: End): Promise<void> {
    const before = this.#restarts()
    if (how === 'kill') process.kill(this.daemon.server(), 'SIGKILL')
    else if (how === 'SIGHUP') this.daemon.process.kill('SIGHUP')
    else sh(`node dist/server/viewfsdctl.js --socket=${this.daemon.socketPath} upgrade`)
    for (const deadline = Date.now() + HANG_MS; this.#restarts() === before; await sleep(100)) {
      check(this.daemon.running(), `${this.name} has ended: ${this.daemon.log().slice(-2000)}`)
      check(Date.now() < deadline, `${this.name}: no server after ${how}: ${this.daemon.log().slice(-2000)}`)
    }
    this.ends[how]++
  }

  /** A sample, once it is the same for a while: what a guest gives up comes later than its script ends. */
  async sample(): Promise<Sample> {
    let last: Sample | undefined
    for (const deadline = Date.now() + HANG_MS; ; await sleep(SETTLING_MS)) {
      const sample = await takeSample(this.name, this.daemon)
      if (sample !== undefined && last !== undefined && growth(last, sample, OF_ANOTHER).length === 0) {
        for (const [role, { descriptors, threads, anonKiB, pssKiB }] of Object.entries(sample.roles))
          say(
            `${this.name} ${role}: ${descriptors} descriptors, ${threads} threads, ${anonKiB} KiB anonymous, ${pssKiB} KiB its share`,
          )
        const rest = [...flat(sample)].filter(([name]) => !name.includes('.'))
        say(
          `${this.name}: ${rest.map(([name, value]) => `${name} ${Math.round(value)}`).join(', ')}, ${sample.requests} requests`,
        )
        return sample
      }
      last = sample
      check(Date.now() < deadline, `${this.name} does not settle: ${JSON.stringify(sample)}`)
    }
  }
}

function endAtRandom(): End {
  const random = Math.random()
  if (random < 0.7) return 'kill'
  return random < 0.85 ? 'upgrade' : 'SIGHUP'
}

/** All programs of both guests, for so long; servers end meanwhile, if they shall. */
async function loadFor(parties: readonly Party[], seconds: number, kills: boolean): Promise<void> {
  for (const { load } of parties) await load.start()
  const end = Date.now() + seconds * 1000
  while (Date.now() < end) {
    await sleep(Math.min(end - Date.now(), KILL_EVERY_MS * (0.5 + Math.random())))
    for (const { load } of parties) await load.goesOn()
    const party = parties[Math.trunc(Math.random() * parties.length)]
    if (kills && Date.now() < end) await party?.replaceServer(endAtRandom())
  }
  await Promise.all(
    parties.map(async ({ name, load }) => {
      const done = Object.entries(await load.stop()).map(([program, rounds]) => `${program} ${rounds}`)
      say(`${name}: rounds: ${done.join(', ')}`)
    }),
  )
  for (const { load } of parties) await load.dropCaches()
}

/** What two stretches have left behind: the second one must not have added to it. */
async function compare(
  parties: readonly Party[],
  margins: Margins,
  first: () => Promise<void>,
  second: () => Promise<void>,
): Promise<void> {
  await first()
  const before: Sample[] = []
  const endedBefore = parties.map(({ ended }) => ended)
  for (const party of parties) before.push(await party.sample())
  await second()
  const grown: string[] = []
  for (const party of parties) {
    const was = before.shift()
    const is = await party.sample()
    if (was === undefined) continue
    const ended = party.ended - (endedBefore.shift() ?? 0)
    const times = ended > 0 ? ended : is.requests - was.requests
    const seen = Object.entries(margins).map(([name, kib]) => `${name} ${Math.ceil((kib * 1024) / times)}`)
    say(
      `${party.name}: ${times} ${ended > 0 ? 'servers ended' : 'requests'}; seen would be, in bytes each: ${seen.join(', ')}`,
    )
    grown.push(...growth(was, is, margins).map((line) => `${party.name} ${line}`))
  }
  equal(grown.join('\n'), '', 'what has grown')
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by long-run.ts of this same build
  const { seconds } = JSON.parse(process.env['VIEWFSD_LONG_RUN'] ?? '') as LongRunOptions
  loadModules()
  const share = join(mountDisk('ext4'), 'share')
  mkdirSync(share, { recursive: true })
  prepareShare(share)
  const rig = {
    data: share,
    run: '/out/long-run',
    guestKernel: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
  }
  mkdirSync(rig.run, { recursive: true })
  const parties: Party[] = []
  await step('booting two guests', async () => {
    for (const who of [0, 1]) {
      const vm = await TestGuest.boot(rig, {
        sharedDir: share,
        daemonArgs: ['--window=memory-view', '--window-size=128M', '--on-crash=restart'],
        memoryMiB: 768,
      })
      await vm.mount()
      vm.guest.goLast()
      parties.push(new Party(vm, who))
    }
  })
  const stretch = (part: number, kills: boolean): Promise<void> => {
    // In less, on a busy machine, some program would do nothing.
    const time = Math.max(30, Math.round(seconds * part))
    return step(`${time} s of load ${kills ? 'with' : 'without'} kills`, () => loadFor(parties, time, kills))
  }
  const newServers = async (): Promise<void> => {
    for (const party of parties) await party.replaceServer('kill')
  }
  const withKills = await test('long: what outlives servers, and a new one, have no more after many of them', () =>
    compare(
      parties,
      OF_ANOTHER,
      async () => {
        await stretch(0.1, true)
        await newServers()
      },
      async () => {
        await stretch(0.6, true)
        await newServers()
      },
    ))
  for (const { name, ends } of parties)
    say(`${name}: ${ends.kill} kills, ${ends.upgrade} upgrades, ${ends.SIGHUP} SIGHUPs`)
  // After a failure programs may still be running.
  if (!withKills) return finish()
  await test('long: a server has no more after many requests', () =>
    compare(
      parties,
      OF_THE_SAME,
      () => stretch(0.05, false),
      () => stretch(0.25, false),
    ))
  await test('long: the guests unmount and end as ever', async () => {
    for (const { name, vm } of parties) {
      await vm.guest.must('umount /mnt')
      await vm.guest.shutdown()
      equal(vm.guest.complaints().join('\n'), '', `${name}: guest kernel log`)
      equal(await vm.daemon.exited, 'exit status 0', name)
    }
  })
  return finish()
}

runMain(() => emulatorFaultAsStatus(main))
