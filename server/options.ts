// SPDX-License-Identifier: Apache-2.0
/** The command line as the daemon wants it: checked, typed, with defaults. The options themselves are in options/table.ts. */
import type { FaultPolicy, WindowChoice } from './dax/window.ts'
import { type Arguments, type EarlyAction, splitArguments } from './options/arguments.ts'
import { type CapabilityChange, parseModcaps } from './options/capabilities.ts'
import { checkTranslations, type IdMap } from './options/id-maps.ts'
import { controlPathOf } from './control/path.ts'
import { parseLegacy } from './options/legacy.ts'
import {
  type CacheChoice,
  type CrashReaction,
  type FeatureMode,
  type FileHandleChoice,
  type LogLevel,
  type MigrationMode,
  type MigrationReaction,
  OPTION_TABLE,
  type SandboxKind,
  type SeccompAction,
  VALUE,
} from './options/table.ts'
import type { IdTranslation } from './passthrough/id-translation.ts'
import { EXIT_FAILURE, printable, UsageError } from './options/usage-error.ts'
import type { DaxPolicy, MetricsAddress, ValueParser } from './options/values.ts'

export type { CacheChoice, DaxPolicy, FileHandleChoice, LogLevel, SandboxKind, SeccompAction }
export type { CapabilityChange, IdMap }
export { UsageError }

export interface Options {
  /** Where to listen; undefined with `listenFd`. */
  readonly socketPath: string | undefined
  readonly socketGroup: string | undefined
  /** An inherited descriptor that listens; undefined with `socketPath`. */
  readonly listenFd: number | undefined
  /** Where to listen for viewfsdctl; undefined: nowhere. */
  readonly control: { readonly path: string; readonly required: boolean } | undefined
  /** Where the counters are served. */
  readonly metrics: MetricsAddress | undefined
  readonly sharedDir: string
  /** undefined: the configuration space is not offered. */
  readonly tag: string | undefined
  readonly requestQueues: number
  /** Threads for requests that wait for the host; 0: none. */
  readonly threadPoolSize: number
  readonly window: WindowChoice
  readonly windowSizeBytes: number
  readonly faultPolicy: FaultPolicy
  readonly daxPolicy: DaxPolicy
  readonly daxReserve: boolean
  readonly keepListening: boolean
  readonly configureMemSlots: 'auto' | 'on' | 'off'

  readonly readonly: boolean
  readonly cache: CacheChoice
  readonly writeback: boolean
  readonly allowDirectIo: boolean
  readonly allowMmap: boolean
  readonly readdirplus: boolean
  readonly xattr: boolean
  readonly posixAcl: FeatureMode
  /** Rules as they were typed. */
  readonly xattrMap: string | undefined
  readonly securityLabel: FeatureMode
  readonly killprivV2: boolean
  readonly announceSubmounts: boolean
  readonly preserveNoatime: boolean
  readonly posixLocks: boolean
  readonly flocks: boolean
  readonly inodeFileHandles: FileHandleChoice
  readonly translateUid: readonly IdTranslation[]
  readonly translateGid: readonly IdTranslation[]

  readonly migrationMode: MigrationMode
  readonly migrationOnError: MigrationReaction
  readonly migrationVerifyHandles: boolean

  readonly onCrash: CrashReaction
  readonly sandbox: SandboxKind
  readonly seccomp: SeccompAction
  readonly modcaps: readonly CapabilityChange[]
  readonly uidMap: readonly IdMap[]
  readonly gidMap: readonly IdMap[]
  /** undefined: as high as 1000000, silently less; 0: leave it. */
  readonly descriptorLimit: number | undefined

  readonly logLevel: LogLevel
  readonly syslog: boolean
  /** Lines to log first: what is deprecated. */
  readonly warnings: readonly string[]
}

/** Threads of a pool; what virtiofsd takes beyond is taken, too. */
const MAX_POOL_THREADS = 1024

export type ParsedCommandLine =
  | { readonly action: EarlyAction | 'no-arguments' | 'print-capabilities' }
  | { readonly action: 'check'; readonly json: boolean }
  | { readonly action: 'run'; readonly options: Options }

/** @throws UsageError */
export function parseCommandLine(args: readonly string[]): ParsedCommandLine {
  if (args.length === 0) return { action: 'no-arguments' }
  if (args[0] === 'check') return { action: 'check', json: parseCheck(args.slice(1)) }
  const given = splitArguments(args)
  if (typeof given === 'string') return { action: given }
  checkConflicts(given)
  if (given.has('print-capabilities')) return { action: 'print-capabilities' }
  return { action: 'run', options: build(given) }
}

/** @returns whether JSON is wanted */
function parseCheck(args: readonly string[]): boolean {
  const stray = args.find((argument) => argument !== '--json')
  if (stray !== undefined) throw new UsageError(`check takes no argument but --json, not ${JSON.stringify(stray)}`)
  return args.length > 0
}

function checkConflicts(given: Arguments): void {
  for (const socket of ['socket-path', 'socket']) {
    if (given.has(socket) && given.has('fd'))
      throw new UsageError(`--${socket} can't be used with --fd: leave one of them out`)
  }
  if (feature(given, 'posix-acl') !== 'never') refuseTranslation(given)
}

function refuseTranslation(given: Arguments): void {
  for (const translate of ['translate-uid', 'translate-gid']) {
    if (given.has(translate))
      throw new UsageError(
        `--posix-acl can't be used with --${translate}, which would make the ids in lists wrong: leave one of them out`,
      )
  }
}

/** As in virtiofsd, well formed, and no wrong usage. */
function refuseNeedlessChecks(given: Arguments): void {
  if (given.value('migration-mode') !== 'file-handles') return
  for (const name of ['migration-verify-handles', 'migration-confirm-paths']) {
    if (!given.has(name)) continue
    const why = "a handle is never another inode's: leave one of them out"
    throw new UsageError(`--${name} can't be used with --migration-mode=file-handles: ${why}`, EXIT_FAILURE)
  }
}

/** Of two switches that undo each other the last counts. */
function lastOf(given: Arguments, positive: string, negative: string, fallback: boolean): boolean {
  const last = given.order.filter((name) => name === positive || name === negative).at(-1)
  return last === undefined ? fallback : last === positive
}

function controlSocket(given: string | undefined, socketPath: string | undefined): Options['control'] {
  if (given === 'none') return undefined
  if (given !== undefined) return { path: given, required: true }
  return socketPath === undefined ? undefined : { path: controlPathOf(socketPath), required: false }
}

function build(given: Arguments): Options {
  const legacy = parseLegacy(given.values('o'))
  const sharedDir = legacy.source ?? given.value('shared-dir')
  if (sharedDir === undefined) throw new UsageError('--shared-dir is required: --shared-dir=DIR names what to share')
  const socketPath = given.value('socket-path') ?? given.value('socket')
  const listenFd = optional(given, 'fd', VALUE.fd)
  if (socketPath === undefined && listenFd === undefined)
    throw new UsageError('--socket-path or --fd is required: --socket-path=PATH is where QEMU shall connect')

  const xattrMap = legacy.xattrMap ?? given.value('xattrmap')
  const posixAcl = legacy.posixAcl ?? feature(given, 'posix-acl')
  if (posixAcl !== 'never') refuseTranslation(given)
  const securityLabel = legacy.securityLabel ?? feature(given, 'security-label')
  refuseNeedlessChecks(given)
  const xattr = legacy.xattr ?? given.has('xattr')
  const options: Options = {
    socketPath,
    socketGroup: given.value('socket-group'),
    listenFd,
    control: controlSocket(given.value('control'), socketPath),
    metrics: optional(given, 'metrics', VALUE.metrics),
    sharedDir,
    tag: optional(given, 'tag', VALUE.tag),
    requestQueues: value(given, 'num-request-queues', VALUE.requestQueues),
    threadPoolSize: Math.min(value(given, 'thread-pool-size', VALUE.count), MAX_POOL_THREADS),
    window: value(given, 'window', VALUE.window),
    windowSizeBytes: value(given, 'window-size', VALUE.windowSize),
    faultPolicy: value(given, 'fault-policy', VALUE.faultPolicy),
    daxPolicy: value(given, 'dax-policy', VALUE.daxPolicy),
    daxReserve: value(given, 'dax-reserve', VALUE.onOff),
    keepListening: given.has('keep-listening'),
    configureMemSlots: value(given, 'configure-mem-slots', VALUE.when),
    readonly: given.has('readonly'),
    cache: legacy.cache ?? value(given, 'cache', VALUE.cache),
    writeback: legacy.writeback ?? given.has('writeback'),
    allowDirectIo: legacy.allowDirectIo ?? given.has('allow-direct-io'),
    allowMmap: given.has('allow-mmap'),
    readdirplus: legacy.readdirplus ?? !given.has('no-readdirplus'),
    xattr: xattr || posixAcl !== 'never' || securityLabel !== 'never' || xattrMap !== undefined,
    posixAcl,
    xattrMap,
    securityLabel,
    killprivV2: legacy.killprivV2 ?? lastOf(given, 'killpriv-v2', 'no-killpriv-v2', false),
    announceSubmounts: lastOf(given, 'announce-submounts', 'no-announce-submounts', true),
    preserveNoatime: given.has('preserve-noatime'),
    posixLocks: legacy.posixLocks ?? given.has('posix-locks'),
    flocks: legacy.flocks ?? given.has('flocks'),
    inodeFileHandles: value(given, 'inode-file-handles', VALUE.fileHandles),
    translateUid: translations(given, 'translate-uid'),
    translateGid: translations(given, 'translate-gid'),
    migrationMode: value(given, 'migration-mode', VALUE.migrationMode),
    migrationOnError: value(given, 'migration-on-error', VALUE.migrationReaction),
    migrationVerifyHandles: given.has('migration-verify-handles'),
    onCrash: value(given, 'on-crash', VALUE.onCrash),
    sandbox: legacy.sandbox ?? value(given, 'sandbox', VALUE.sandbox),
    seccomp: value(given, 'seccomp', VALUE.seccomp),
    modcaps: modcaps(legacy.modcaps ?? given.value('modcaps')),
    uidMap: given.values('uid-map').map(VALUE.idMap),
    gidMap: given.values('gid-map').map(VALUE.idMap),
    descriptorLimit: optional(given, 'rlimit-nofile', VALUE.count),
    logLevel: given.has('d') ? 'debug' : (legacy.logLevel ?? value(given, 'log-level', VALUE.logLevel)),
    syslog: given.has('syslog'),
    warnings: deprecations(given),
  }
  refuseUnrecorded(options)
  return options
}

/** What a server can't leave to its successor. */
function refuseUnrecorded({ onCrash, window }: Options): void {
  if (onCrash !== 'restart') return
  if (window === 'shmem')
    throw new UsageError("--on-crash=restart can't be used with --window=shmem: take memory-view or none")
}

function feature(given: Arguments, name: string): FeatureMode {
  return value(given, name, VALUE.feature)
}

function optional<T>(given: Arguments, name: string, parse: ValueParser<T>): T | undefined {
  const text = given.value(name)
  return text === undefined ? undefined : parse(text)
}

/** What was given, or the default of the table. */
function value<T>(given: Arguments, name: string, parse: ValueParser<T>): T {
  const text = given.value(name) ?? OPTION_TABLE.find((row) => row.name === name)?.default
  if (text === undefined) throw new Error(`--${name} has no default`)
  return parse(text)
}

/** As in virtiofsd, rules that are well formed but make no sense together are no wrong usage. */
function translations(given: Arguments, name: string): IdTranslation[] {
  const rules = given.values(name).map(VALUE.translation)
  failing(name, given.values(name).join(' '), () => checkTranslations(rules))
  return rules
}

function modcaps(text: string | undefined): CapabilityChange[] {
  return text === undefined ? [] : failing('modcaps', text, () => parseModcaps(text))
}

function failing<T>(name: string, text: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`invalid value "${printable(text)}" for --${name}: ${reason}`, EXIT_FAILURE)
  }
}

function deprecations(given: Arguments): string[] {
  const warnings: string[] = []
  if (given.has('f')) warnings.push('-f is deprecated: it changes nothing')
  if (given.has('d')) warnings.push('-d is deprecated: use --log-level=debug')
  if (given.has('socket')) warnings.push('--socket is deprecated: use --socket-path')
  if (given.value('inode-file-handles') === 'fallback') {
    warnings.push('--inode-file-handles=fallback is deprecated: use prefer')
  }
  return warnings
}
