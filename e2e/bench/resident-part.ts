// SPDX-License-Identifier: Apache-2.0
/** The part of the guest benchmark that reads what is resident, on the host and in the guest (resident.ts). */
import { type FioPlace, runFio } from '../guest/fio.ts'
import { sh } from '../guest/host.ts'
import { step } from '../rig/progress.ts'
import { type BenchOptions, FILE, HOST_FILE, MIB, roomyWindow, withFioGuest } from './fio-guest.ts'
import { RESIDENT_GLOBAL, RESIDENT_JOBS, RESIDENT_MIB, type ResidentSample } from './resident.ts'

/** The nested host itself, as a place for fio. */
const HOST: FioPlace = { must: (script) => Promise.resolve(sh(script)) }

/** The same reads at all places, by turns. */
async function readEverywhere(guest: FioPlace, options: BenchOptions): Promise<ResidentSample[]> {
  const own = '/tmp/own'
  const sizeBytes = Math.min(options.fileMiB, RESIDENT_MIB) * MIB
  await guest.must(
    `mkdir ${own} && mount -t tmpfs -o huge=always own ${own} && head -c ${sizeBytes} ${FILE} >${own}/file`,
  )
  const places = [
    { where: 'host', place: HOST, file: HOST_FILE },
    { where: 'own', place: guest, file: `${own}/file` },
    { where: 'window', place: guest, file: FILE },
  ] as const
  const samples: ResidentSample[] = []
  // Maps the window's ranges, and by those KVM's pages.
  for (const { place, file } of places) await place.must(`cat ${file} >/dev/null`, 300_000)
  for (let run = 1; run <= options.runs; run++)
    for (const { where, place, file } of places) {
      const results = await step(`resident, ${where}, run ${run} of ${options.runs}`, () =>
        runFio(place, {
          file,
          sizeBytes,
          seconds: options.seconds,
          global: RESIDENT_GLOBAL,
          jobs: RESIDENT_JOBS,
        }),
      )
      samples.push(...results.map(({ name, bytesPerSecond }) => ({ where, job: name, bytesPerSecond })))
    }
  return samples
}

export function residentSamples(options: BenchOptions): Promise<ResidentSample[]> {
  return withFioGuest('memory-view', roomyWindow(options), ({ guest }) => readEverywhere(guest, options))
}
