// SPDX-License-Identifier: Apache-2.0
/**
 * Each kind of event in the log, by the id that its lines have as `event`. An id stays what it means; texts may change. doc/logging.md
 * lists them.
 */
export const EVENTS = {
  waiting: 'The daemon listens.',
  ending: 'A signal ends the daemon.',
  'start-failed': 'The daemon can not do what its command line says.',
  bug: 'A fault of viewfsd, which ends it.',
  counters: 'All counters, asked for by SIGUSR1.',
  'option-deprecated': 'An option that does nothing, or has another name now.',
  'descriptors-few': 'No more files can be open than the hard limit allows.',
  'control-absent': 'There is no control socket, since its default path can not be had.',
  'control-failed': 'A command of the control socket met a fault of viewfsd.',
  'frontend-connected': 'A frontend (QEMU) has connected.',
  'frontend-disconnected': 'It has gone.',
  'frontend-failed': 'It has gone, or was dropped, because of an error.',
  'frontend-message': 'It has sent a vhost-user message.',
  'message-refused': 'It has sent one that was answered with an error.',
  'memory-slots-few': 'It can not announce more than 8 regions of memory.',
  'device-reset': 'It has reset the device.',
  'state-saved': 'What the guest has here has been sent to where it moves.',
  'state-searched': 'To find its files again, the whole share had to be looked through.',
  'state-loaded': 'What the guest had elsewhere is here.',
  'state-lost': 'Some of it could not be found again.',
  'state-failed': 'It could not be sent, or not be taken.',
  'state-missing': 'A guest goes on that has mounted elsewhere, without what it has there: it gets EIO.',
  'ring-broken': 'A ring lied, and was stopped.',
  'window-chosen': 'Which window there is, and why.',
  'window-shown': 'This frontend shows the window.',
  'window-absent': 'This frontend can not show it.',
  'window-small': 'The guest wants ranges back as soon as it has given them up.',
  'window-failed': 'A range could not be mapped or unmapped.',
  'files-unviewable': 'Some of the shared files can not be in the window.',
  'files-unread': 'Files could not be read: the guest got empty pages.',
  'write-lost': 'A file could not be written to: what the guest stored is lost.',
  'queue-thread-failed': 'A queue thread met a fault of viewfsd, which ends it.',
  'server-restarted':
    'A signal or an upgrade has ended the serving process, and this one goes on in its place (`--on-crash=restart`).',
  'handing-over':
    'SIGHUP or `viewfsdctl upgrade`: the program that is installed now goes on with the guest (`--on-crash=restart`).',
  'server-crashing':
    'Ten serving processes have crashed within a minute: all requests of the guest get EIO from here on.',
  'request-deadly':
    'Three serving processes in a row have crashed with this request, whose bytes are in the line: it got EIO.',
  'request-failed': 'A request met a fault of viewfsd, and was answered with EIO.',
  'request-stuck': 'A request has not been answered for 10 s, because the host has not.',
  'request-waiting': 'A request has waited for 10 s for a lock or a lease on the host.',
  'request-ended': 'One of these two has ended.',
  'files-many': 'The guest has more files open, or known, than the daemon can hold.',
  'share-warning': 'Something in the shared directory works differently from what was asked for.',
} as const

export type EventId = keyof typeof EVENTS

/** What a line has besides its text. */
export interface EventFields {
  readonly event: EventId
}
