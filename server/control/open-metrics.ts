// SPDX-License-Identifier: Apache-2.0
/** The counters as OpenMetrics 1.0 text, for Prometheus and its like. */
import type { Metrics } from '../metrics.ts'
import type { Latencies } from './latencies.ts'
import { cumulativeByOctave } from './latencies.ts'
import type { Status } from './status.ts'

type Samples = number | Readonly<Record<string, number>>

interface Family {
  /** Ends with the unit, if there is one; samples of counters have _total behind it. */
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly unit?: 'bytes' | 'seconds'
  readonly help: string
  /** The label that the samples' names are values of. */
  readonly label?: string
  /** undefined: this daemon has no such thing. */
  readonly value: Samples | undefined
}

function counter(name: string, help: string, value: Samples | undefined, label?: string): Family {
  return { name, type: 'counter', help, value, ...(label === undefined ? {} : { label }) }
}

function gauge(name: string, help: string, value: Samples | undefined): Family {
  return { name, type: 'gauge', help, value }
}

function families(metrics: Metrics, status: Status): Family[] {
  const { fuse, queues, memory, window, frontendMessages } = metrics
  return [
    { ...gauge('uptime_seconds', 'Since the daemon has started.', status.uptimeSeconds), unit: 'seconds' },
    gauge('frontend_connected', 'Whether a frontend is connected.', Number(status.frontend.connected)),
    gauge('session_active', 'Whether a guest has the file system mounted.', Number(status.session !== null)),
    gauge('active_requests', 'Requests that queue threads are at work on.', status.activeRequests),
    counter('restarts', 'Servers that another one has followed, with --on-crash=restart.', status.servers?.restarts),
    gauge(
      'refusing',
      'Whether all requests get EIO, since servers keep crashing.',
      status.servers === null ? undefined : Number(status.servers.refusing),
    ),
    counter('requests', 'FUSE requests of the guest.', fuse.requests, 'opcode'),
    counter('request_errors', 'Replies with an error, and requests that were refused.', fuse.errors),
    { ...counter('read_bytes', 'Bytes that READ has moved to the guest.', fuse.bytesRead), unit: 'bytes' },
    { ...counter('written_bytes', 'Bytes that WRITE has taken from the guest.', fuse.bytesWritten), unit: 'bytes' },
    counter('mappings_set_up', 'SETUPMAPPINGs that have been carried out.', fuse.mappingsSetUp),
    counter('mappings_set_up_writable', 'Those of them that allowed writing.', fuse.mappingsSetUpWritable),
    counter('mappings_refused', 'SETUPMAPPINGs that got an error.', fuse.mappingsRefused),
    counter('mappings_removed', 'Ranges of the window that the guest has given up.', fuse.mappingsRemoved),
    counter('ring_requests', 'Requests taken from rings.', queues.requests),
    counter('ring_refused', 'Requests that were malformed, too large or unreadable.', queues.refused),
    counter('guest_interrupts', 'Interrupts sent to the guest.', queues.signals),
    counter('queue_sleeps', 'Times that a queue thread slept.', queues.waits),
    counter('queue_spin_hits', 'Times that spinning found work before a sleep.', queues.spinHits),
    counter('pooled_requests', 'Requests given to the thread pool, since they may have to wait.', queues.pooled),
    counter(
      'async_reads',
      'READs of the disk that the kernel has carried out by itself (io_uring).',
      queues.asyncReads,
    ),
    gauge('guest_memory_regions', "Regions of the guest's memory.", memory.regions),
    counter('guarded_faults', 'Accesses to guest memory that would have ended the daemon.', memory.guardedFaults),
    { ...gauge('window_bytes', 'Size of the DAX window.', window.sizeBytes), unit: 'bytes' },
    gauge('window_active', 'Whether the connected frontend shows the window.', Number(window.active)),
    gauge('window_ranges', 'Mappings that are live now.', window.live),
    counter(
      'window_ranges_wanted_again',
      'Ranges that the guest has given up and wanted back soon.',
      window.wantedAgain,
    ),
    counter('window_maps', 'Ranges mapped by the driver.', window.maps),
    counter('window_unmaps', 'Ranges unmapped by the driver.', window.unmaps),
    counter('window_faults', 'Page faults served in the window.', window.faults),
    counter('window_zaps', 'Times that the driver has taken pages back.', window.zaps),
    counter('window_retries', 'Faults that had to be repeated.', window.retries),
    gauge('window_sink_pages', 'Pages that stand in for what a file does not have.', window.sinkPages),
    counter('window_sinks', 'Faults that got such a page.', window.sinks),
    counter('window_read_errors', 'Faults whose file could not be read.', window.readErrors),
    counter('window_lost_writes', 'Writes of the guest that no file has taken.', window.lostWrites),
    counter('frontend_shmem_maps', 'SHMEM_MAP messages sent to the frontend.', frontendMessages.shmemMap),
    counter('frontend_shmem_unmaps', 'SHMEM_UNMAP messages sent to the frontend.', frontendMessages.shmemUnmap),
  ]
}

export function openMetrics(metrics: Metrics, status: Status, latencies: readonly Latencies[]): string {
  return `${families(metrics, status).map(text).join('')}${histogram(latencies)}# EOF\n`
}

/** Each opcode's steps are the same at all times, as those who query them expect. */
function histogram(latencies: readonly Latencies[]): string {
  if (latencies.length === 0) return ''
  const name = 'viewfsd_request_duration_seconds'
  const samples = latencies.flatMap((one) => {
    const opcode = `opcode="${one.opcode}"`
    const steps = cumulativeByOctave(one)
    const count = steps.at(-1)?.requests ?? 0
    return [
      ...steps.map(({ seconds, requests }) => `${name}_bucket{${opcode},le="${seconds}"} ${requests}\n`),
      `${name}_bucket{${opcode},le="+Inf"} ${count}\n`,
      `${name}_sum{${opcode}} ${one.nanoseconds / 1e9}\n`,
      `${name}_count{${opcode}} ${count}\n`,
    ]
  })
  const help =
    'From the ring to the reply. Of requests that are served from memory one of 16 is timed, at random, and stands for the others.'
  return [`# TYPE ${name} histogram\n`, `# UNIT ${name} seconds\n`, `# HELP ${name} ${help}\n`, ...samples].join('')
}

function text({ name, type, unit, help, label, value }: Family): string {
  if (value === undefined) return ''
  const full = `viewfsd_${name}`
  const sample = type === 'counter' ? `${full}_total` : full
  const samples =
    typeof value === 'number'
      ? [`${sample} ${value}\n`]
      : Object.entries(value).map(([of, count]) => `${sample}{${label ?? 'name'}="${of}"} ${count}\n`)
  return [
    `# TYPE ${full} ${type}\n`,
    ...(unit === undefined ? [] : [`# UNIT ${full} ${unit}\n`]),
    `# HELP ${full} ${help}\n`,
    ...samples,
  ].join('')
}
