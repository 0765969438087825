// SPDX-License-Identifier: Apache-2.0
/**
 * Every option, once. The parser, --help, -h and the manual page are made from this table. Names, values and defaults of
 * the rows that are not marked `ours` are virtiofsd's.
 */
import { FAULT_POLICIES, WINDOW_CHOICES } from '../dax/window.ts'
import { parseIdMap, parseTranslation } from './id-maps.ts'
import { XattrMap } from '../passthrough/xattr-map.ts'
import {
  choice,
  daxPolicy,
  metricsAddress,
  mountTag,
  type ValueParser,
  wholeNumber,
  windowSize,
  withChoices,
} from './values.ts'

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace', 'off'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const CACHE_CHOICES = ['auto', 'always', 'never', 'metadata'] as const
export type CacheChoice = (typeof CACHE_CHOICES)[number]
export const SANDBOX_KINDS = ['namespace', 'chroot', 'none'] as const
export const CRASH_REACTIONS = ['exit', 'restart'] as const
export type CrashReaction = (typeof CRASH_REACTIONS)[number]
export type SandboxKind = (typeof SANDBOX_KINDS)[number]
export const SECCOMP_ACTIONS = ['none', 'kill', 'log', 'trap'] as const
export type SeccompAction = (typeof SECCOMP_ACTIONS)[number]
export const FILE_HANDLE_CHOICES = ['never', 'prefer', 'mandatory'] as const
export type FileHandleChoice = (typeof FILE_HANDLE_CHOICES)[number]
export const MIGRATION_MODES = ['find-paths', 'file-handles'] as const
export type MigrationMode = (typeof MIGRATION_MODES)[number]
export const MIGRATION_REACTIONS = ['abort', 'guest-error'] as const
export type MigrationReaction = (typeof MIGRATION_REACTIONS)[number]
export const FEATURE_MODES = ['never', 'auto', 'always'] as const
export type FeatureMode = (typeof FEATURE_MODES)[number]
export const WHEN_CHOICES = ['auto', 'on', 'off'] as const
const ON_OFF = ['on', 'off'] as const

/** Typed values; the option's name is put before what they throw. */
export const VALUE = {
  tag: mountTag,
  fd: wholeNumber(0, 2 ** 31 - 1),
  count: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  onCrash: choice(CRASH_REACTIONS),
  sandbox: choice(SANDBOX_KINDS),
  seccomp: choice(SECCOMP_ACTIONS),
  // "fallback" is the old name of "prefer".
  fileHandles: withChoices(
    FILE_HANDLE_CHOICES,
    (text): FileHandleChoice => (text === 'fallback' ? 'prefer' : choice(FILE_HANDLE_CHOICES)(text)),
  ),
  cache: choice(CACHE_CHOICES, true),
  logLevel: choice(LOG_LEVELS, true),
  migrationMode: choice(MIGRATION_MODES),
  migrationReaction: choice(MIGRATION_REACTIONS),
  requestQueues: wholeNumber(1, 64),
  window: choice(WINDOW_CHOICES),
  windowSize,
  faultPolicy: choice(FAULT_POLICIES),
  daxPolicy,
  metrics: metricsAddress,
  feature: choice(FEATURE_MODES),
  when: choice(WHEN_CHOICES),
  onOff: withChoices(ON_OFF, (text) => choice(ON_OFF)(text) === 'on'),
  // Stays text: each queue thread makes its own.
  xattrMap: (text: string): string => {
    void new XattrMap(text)
    return text
  },
  idMap: parseIdMap,
  translation: parseTranslation,
} as const

export interface OptionRow {
  /** Long name, without dashes; or, of rows without one, the only letter. */
  readonly name: string
  readonly letter?: string
  /** What stands for the value in --help; none: a switch. */
  readonly value?: string
  /** Only `--name=value` is understood, not `--name value`. */
  readonly needsEquals?: boolean
  /** What `--name` alone stands for; with it, `needsEquals` goes without saying. */
  readonly bare?: string
  /** Each occurrence counts; of other options the last does. */
  readonly repeats?: boolean
  /** Refuses a bad value when it is met, before anything that comes after it. */
  readonly check?: ValueParser<unknown>
  readonly default?: string
  /** virtiofsd has no such option. */
  readonly ours?: boolean
  readonly deprecated?: boolean
  /** One sentence, without a full stop. */
  readonly summary: string
  /** Further paragraphs, for --help and the manual. */
  readonly detail?: readonly string[]
}

export const OPTION_TABLE: readonly OptionRow[] = [
  { name: 'shared-dir', value: 'DIR', summary: 'directory to share with the guest' },
  {
    name: 'tag',
    value: 'TAG',
    check: VALUE.tag,
    summary: 'name under which the guest mounts the directory, 1 to 36 bytes',
    detail: [
      'Offers the configuration space (VHOST_USER_PROTOCOL_F_CONFIG). vhost-user-test-device-pci needs it; vhost-user-fs-pci has a tag= of its own. QEMU 7.1 to 8.0 crash when it is offered.',
    ],
  },
  { name: 'socket', value: 'PATH', deprecated: true, summary: 'the same as --socket-path' },
  {
    name: 'socket-path',
    value: 'PATH',
    summary: 'vhost-user socket to listen on',
    detail: [
      'The process id is written to PATH.pid, which stays locked while the daemon runs: a second one for the same socket does not start. A socket that an earlier daemon has left is replaced.',
    ],
  },
  {
    name: 'socket-group',
    value: 'GROUP',
    summary: 'group that may connect to the socket, by name',
    detail: ['Without it only the owner may.'],
  },
  {
    name: 'fd',
    value: 'FD',
    check: VALUE.fd,
    summary: 'inherited descriptor of a socket that listens already, in place of --socket-path',
    detail: ['Nothing is removed at the end, and no PID file is written.'],
  },
  {
    name: 'thread-pool-size',
    value: 'N',
    check: VALUE.count,
    default: '64',
    summary: 'most threads for requests that wait for the host',
    detail: [
      "What the host can answer from memory is served at once, on the thread of its queue (see --num-request-queues). Reads of data that are not there, fsync, and whatever goes to network file systems or others that have been slow wait on threads of a pool, so that nothing else waits behind them; these start when they are needed. With 0 everything is served on the queue's thread, one request after the other. More than 1024 are not used.",
    ],
  },
  { name: 'xattr', summary: 'give the guest extended attributes' },
  {
    name: 'posix-acl',
    value: 'MODE',
    bare: 'always',
    check: VALUE.feature,
    default: 'never',
    summary: `give the guest POSIX access control lists; implies --xattr: ${FEATURE_MODES.join(', ')}; without a value always`,
    detail: [
      'auto: where the guest knows them. always: a guest that does not can not mount.',
      'Not together with --translate-uid or --translate-gid: the ids in the lists would be wrong.',
    ],
  },
  {
    name: 'xattrmap',
    value: 'RULES',
    check: VALUE.xattrMap,
    summary: 'rename, hide or refuse extended attributes by rules, such as :map::user.virtiofs.:; implies --xattr',
  },
  {
    name: 'on-crash',
    value: 'REACTION',
    check: VALUE.onCrash,
    default: 'exit',
    summary: `what follows when a signal ends the serving process: ${CRASH_REACTIONS.join(', ')}`,
    detail: [
      'exit: the daemon ends, and the guest loses the file system.',
      'restart: another process goes on in its place, with the guest’s open files and requests; the guest waits meanwhile. SIGHUP then lets the program that is installed now go on. Not with --window=shmem.',
    ],
  },
  {
    name: 'sandbox',
    value: 'KIND',
    check: VALUE.sandbox,
    default: 'namespace',
    summary: `how to confine the daemon: ${SANDBOX_KINDS.join(', ')}`,
    detail: [
      'namespace: mount, process and network namespaces of its own, in which the shared directory is the root directory; for whoever is not root a user namespace, too, which has the ids of --uid-map and --gid-map, or else the user’s own alone.',
      'chroot: the shared directory is the root directory; for root only, where namespaces are not to be had.',
      'none: the daemon sees what it was started with.',
      'Each time the capabilities that it has no need of are dropped: see --modcaps.',
    ],
  },
  { name: 'readonly', summary: 'refuse every change of the guest' },
  {
    name: 'seccomp',
    value: 'ACTION',
    check: VALUE.seccomp,
    default: 'kill',
    summary: `what happens at a system call that the daemon has no need of: ${SECCOMP_ACTIONS.join(', ')}`,
  },
  { name: 'announce-submounts', summary: 'show the guest which directories are mount points (the default)' },
  { name: 'no-announce-submounts', summary: 'show the guest one file system, whatever is mounted below the directory' },
  {
    name: 'posix-locks',
    summary: 'locks of fcntl(2) exclude other guests and the host, too; otherwise only in one guest',
  },
  { name: 'flocks', summary: 'the same for locks of flock(2)' },
  {
    name: 'inode-file-handles',
    value: 'WHEN',
    needsEquals: true,
    check: VALUE.fileHandles,
    default: 'prefer',
    summary: `whether to know inodes by file handle in place of an open descriptor: ${FILE_HANDLE_CHOICES.join(', ')}`,
    detail: [
      'never: a descriptor (O_PATH) is open for each inode that the guest knows.',
      'prefer: file handles where the file system has them and the daemon may open them. "fallback" is an old name of it. Not on FUSE and FAT, whose handles last no longer than the host’s cache.',
      'mandatory: file handles, also there, and an error where that can not be.',
    ],
  },
  {
    name: 'cache',
    value: 'POLICY',
    check: VALUE.cache,
    default: 'auto',
    summary: `how long the guest may believe what it knows: ${CACHE_CHOICES.join(', ')}`,
    detail: [
      'never: it asks every time, and keeps no file data.',
      'metadata: it keeps names, also that there is no such file, and attributes for a day, and no file data.',
      'auto: it keeps names, also that there is no such file, and attributes for a second; data of a file, and the list of names of a directory, as long as size, modification and change time are the same at each open. An open by its path sees a file that the guest has found as the host has it.',
      'always: it keeps everything; for a directory that nobody else changes.',
    ],
  },
  {
    name: 'allow-mmap',
    summary: 'with --cache=never or metadata: allow shared mappings all the same',
    detail: ['Only for a directory that nobody else changes.'],
  },
  { name: 'no-readdirplus', summary: 'do not send attributes together with names' },
  {
    name: 'writeback',
    summary: 'let the guest collect writes in its page cache; not a guest with a window',
    detail: [
      'The guest then goes by its own sizes and modification times: for a directory that nobody else changes. Without effect where the guest keeps no file data.',
    ],
  },
  { name: 'allow-direct-io', summary: "open the host's file with O_DIRECT where the guest's program asks for it" },
  { name: 'print-capabilities', summary: 'print what libvirt wants to know of the program, as JSON, and exit' },
  {
    name: 'modcaps',
    value: 'LIST',
    summary: 'change which capabilities the daemon keeps, such as +sys_admin:-chown',
  },
  {
    name: 'log-level',
    value: 'LEVEL',
    check: VALUE.logLevel,
    default: 'info',
    summary: `the least grave messages to log: ${LOG_LEVELS.join(', ')}`,
  },
  { name: 'syslog', summary: 'log to the system log, not to standard error' },
  {
    name: 'rlimit-nofile',
    value: 'N',
    check: VALUE.count,
    summary: 'most descriptors that the daemon may have open; 0 keeps the limit it was started with',
    detail: [
      'The default is 1000000, or /proc/sys/fs/nr_open if that is less, or what the hard limit allows. A number that is given must be had.',
    ],
  },
  {
    name: 'o',
    letter: 'o',
    value: 'LIST',
    repeats: true,
    summary: 'options of the old C virtiofsd, with commas between them, as libvirt passes them',
    detail: [
      'source=DIR, cache=auto|always|none|metadata, loglevel=debug|info|warn|err, sandbox=namespace|chroot, modcaps=LIST, xattrmap=RULES, and xattr, readdirplus, writeback, allow_direct_io, killpriv_v2, posix_acl, security_label, posix_lock and flock, each also with no_ before it; announce_submounts, which changes nothing. They win over the long options. Two commas stand for one in a value.',
    ],
  },
  { name: 'd', letter: 'd', deprecated: true, summary: 'the same as --log-level=debug, which it wins over' },
  { name: 'no-killpriv-v2', summary: 'leave the clearing of setuid and setgid bits to the guest (the default)' },
  {
    name: 'killpriv-v2',
    summary: 'clear setuid and setgid bits on the host when a file is written, truncated or given away',
  },
  { name: 'f', letter: 'f', deprecated: true, summary: 'without effect: the daemon always stays in the foreground' },
  {
    name: 'security-label',
    value: 'MODE',
    bare: 'always',
    check: VALUE.feature,
    default: 'never',
    summary: `store the security label that the guest sends with each new file; implies --xattr: ${FEATURE_MODES.join(', ')}; without a value always`,
    detail: [
      'auto: where the guest knows how to. always: a guest that does not can not mount.',
      'The daemon does not start where it can not write them: --xattrmap and --modcaps are for that.',
    ],
  },
  {
    name: 'uid-map',
    value: 'MAP',
    repeats: true,
    check: VALUE.idMap,
    summary: 'user ids of the user namespace of --sandbox=namespace: :NAMESPACE-ID:HOST-ID:COUNT:',
    detail: [
      'The kernel translates. Without it there is the id of the user alone, and it stays the same; any others are set up by newuidmap(1). May be given more than once.',
    ],
  },
  {
    name: 'gid-map',
    value: 'MAP',
    repeats: true,
    check: VALUE.idMap,
    summary: 'the same for group ids',
  },
  {
    name: 'translate-uid',
    value: 'RULE',
    repeats: true,
    check: VALUE.translation,
    summary: 'translate user ids between guest and host: KIND:FROM:TO:COUNT',
    detail: [
      'The daemon translates. guest: guest ids from FROM on are host ids from TO on. host: host ids are guest ids. map: both ways, FROM being the guest. squash-guest, squash-host: a whole range is the one id TO. forbid-guest:FROM:COUNT: the guest may not give a file such an id.',
      'May be given more than once; not together with --posix-acl.',
    ],
  },
  {
    name: 'translate-gid',
    value: 'RULE',
    repeats: true,
    check: VALUE.translation,
    summary: 'the same for group ids',
  },
  {
    name: 'preserve-noatime',
    summary: "open the host's file with O_NOATIME where the guest's program asks for it",
    detail: ['Without the ownership or the capability that O_NOATIME wants, such an open then fails.'],
  },
  {
    name: 'migration-mode',
    value: 'MODE',
    check: VALUE.migrationMode,
    default: 'find-paths',
    summary: 'how the inodes that a guest knows are found again when it has moved: find-paths, file-handles',
    detail: [
      'find-paths: by their paths, which may be of another file system with the same contents. A file without a path, such as one that is open and unlinked, is lost.',
      'file-handles: both daemons share the same directory of the same file system, and the receiving one needs CAP_DAC_READ_SEARCH, which root has. It opens what it is told by handle only if it has this option, too.',
    ],
  },
  {
    name: 'migration-on-error',
    value: 'REACTION',
    check: VALUE.migrationReaction,
    default: 'abort',
    summary: 'what the receiving daemon does where it can not find something again: abort, guest-error',
    detail: [
      'abort: the migration fails, and the guest goes on where it was.',
      'guest-error: whatever the guest asks of such an inode fails with EIO, and of such an open file with EBADF.',
    ],
  },
  {
    name: 'migration-verify-handles',
    summary: 'with paths, send file handles along, by which the receiving daemon sees that it has found the same inode',
    detail: ['Not with --migration-mode=file-handles, nor where the other file system is a copy.'],
  },
  {
    name: 'migration-confirm-paths',
    summary: 'look each path up again before it is sent: viewfsd always does',
  },
  {
    name: 'num-request-queues',
    value: 'N',
    ours: true,
    check: VALUE.requestQueues,
    default: '8',
    summary: 'most request queues that a frontend may use, each with a thread, 1 to 64',
  },
  {
    name: 'window',
    value: 'KIND',
    ours: true,
    check: VALUE.window,
    default: 'auto',
    summary: `DAX window: ${WINDOW_CHOICES.join(', ')}`,
    detail: [
      'memory-view: an object of the memory_view driver, which shows files; fails where the driver is missing.',
      'shmem: the frontend is told of each range.',
      'auto: memory-view where the driver is loaded, else none.',
    ],
  },
  {
    name: 'window-size',
    value: 'SIZE',
    ours: true,
    check: VALUE.windowSize,
    default: '1G',
    summary: 'size of the window, a power of two from 2M to 64T: bytes, or with K, M, G, T',
  },
  {
    name: 'fault-policy',
    value: 'POLICY',
    ours: true,
    check: VALUE.faultPolicy,
    default: 'sink',
    summary: 'what a guest gets where a memory-view window has no data for it: sink, sigbus',
    detail: [
      'That is beyond the end of a file, and where a file can not be read or, its disk being full, not be written to.',
      'sink: a page of its own, which is empty, or has what the file has there. What is written to it is lost; the log and the counters tell of it.',
      'sigbus: the frontend gets SIGBUS, which stops the VM.',
    ],
  },
  {
    name: 'dax-policy',
    value: 'POLICY',
    ours: true,
    check: VALUE.daxPolicy,
    default: 'never',
    summary: 'which files are in the window of a guest mounted with dax=inode: always, never, or SIZE[,AGE]',
    detail: [
      'SIZE: files of at least so many bytes, or with K, M, G, T. A range of the window costs the guest 32 KiB of memory, so small files are better off in its page cache.',
      'AGE: whose data has not changed for so many seconds, or with s, m, h, d. The guest asks again when it has forgotten the inode.',
      'dax=inode is how Linux mounts without a dax option. A guest with dax=always or dax=never does as that says.',
    ],
  },
  {
    name: 'dax-reserve',
    value: 'WHEN',
    ours: true,
    check: VALUE.onOff,
    default: 'off',
    summary: 'make room on the disk for the holes of each range that a guest maps for writing: on, off',
    detail: [
      "on: where the disk is full the guest's program gets SIGBUS, or ENOSPC from write(2), before it has stored anything. Sparse files fill up, 2 MiB at a time, and what is not written to stays allocated.",
      'off: what a guest stores in a hole of a file on a full disk is lost, of which the log tells (see --fault-policy).',
    ],
  },
  {
    name: 'keep-listening',
    ours: true,
    summary: 'serve the next frontend when one disconnects, instead of exiting',
  },
  {
    name: 'control',
    value: 'PATH',
    ours: true,
    summary: 'socket for viewfsdctl(1), or none [default: the path of --socket-path with .ctl behind it]',
    detail: [
      'Only the user that starts the daemon may connect. Where the default can not be had, the daemon does without and says so; a path that is given must be had. With --fd there is none unless a path is given.',
    ],
  },
  {
    name: 'metrics',
    value: 'WHERE',
    ours: true,
    check: VALUE.metrics,
    summary:
      'serve the counters as OpenMetrics at http://HOST:PORT/metrics, or at a socket: HOST:PORT or PATH, which has a slash',
    detail: [
      "Whoever can connect can read them: counters, sizes and times, but no names of files. HOST is an address, in brackets for IPv6, such as 127.0.0.1:9551 or [::1]:9551. A socket is its owner's alone.",
    ],
  },
  {
    name: 'configure-mem-slots',
    value: 'WHEN',
    ours: true,
    check: VALUE.when,
    default: 'auto',
    summary: 'let the frontend announce memory region by region: auto (not with both --tag and a memory view), on, off',
  },
  { name: 'help', letter: 'h', summary: 'print help: -h in brief' },
  { name: 'version', letter: 'V', summary: 'print the version, and the memory-view ABI of program and driver' },
]
