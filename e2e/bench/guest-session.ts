// SPDX-License-Identifier: Apache-2.0
/** A benchmark with guests: its session runs in a nested host and leaves samples there; the report is made outside. */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { builtDriver } from '../rig/driver.ts'
import { hostRoot } from '../rig/host-root.ts'
import { checkRun, runInMachine, USUAL_CPUS } from '../rig/machine.ts'
import { kernelLabel } from '../rig/packages.ts'

/** What every benchmark with guests can be told, for parseArgs of node:util; `timeout` in seconds. */
export const GUEST_SESSION_OPTIONS = {
  runs: { type: 'string', default: '3' },
  kernel: { type: 'string', default: '7.3' },
  out: { type: 'string' },
  timeout: { type: 'string', default: '7200' },
  cpus: { type: 'string', default: String(USUAL_CPUS) },
  help: { type: 'boolean', default: false },
} as const

export interface GuestSession {
  /** Below dist/e2e/bench/. It takes its options from VIEWFSD_BENCH, and writes out/samples.json. */
  readonly script: string
  readonly options: unknown
  /** 6.12 or 7.3, as the command line has them. */
  readonly kernel: string
  readonly guestKernel: string
  /** Copied to /out beside the driver, by their name there. */
  readonly files?: Readonly<Record<string, string>>
  readonly timeoutSeconds: number
  /** Of the nested host. */
  readonly cpus: number
}

export interface GuestSessionResult {
  /** Of the session's own type. */
  readonly samples: unknown
  /** When, where and with what. */
  readonly circumstances: Readonly<Record<string, string | undefined>>
}

/** @throws StepError for an unknown kernel, and where the run failed */
export async function runGuestSession(session: GuestSession): Promise<GuestSessionResult> {
  const kernel = kernelLabel(session.kernel)
  const guest = kernelLabel(session.guestKernel)
  const root = await hostRoot()
  const result = await runInMachine(root, {
    kernel,
    script: `exec node dist/e2e/bench/${session.script}`,
    files: { 'memory_view.ko': await builtDriver(root, kernel), ...session.files },
    env: { VIEWFSD_BENCH: JSON.stringify(session.options), VIEWFSD_GUEST_KERNEL: guest },
    memoryMiB: 6144,
    cpus: session.cpus,
    timeoutSeconds: session.timeoutSeconds,
    onOutput: (chunk) => process.stderr.write(chunk),
  })
  checkRun('the benchmark', result)
  return {
    samples: JSON.parse(readFileSync(join(result.dir, 'out/samples.json'), 'utf8')),
    circumstances: {
      date: new Date().toISOString(),
      machine: `emulated host with ${session.cpus} CPU${session.cpus === 1 ? '' : 's'}, on ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
      hostKernel: root.manifest.kernels[kernel],
      guestKernel: root.manifest.kernels[guest],
      ...root.manifest.versions,
    },
  }
}
