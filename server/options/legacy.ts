// SPDX-License-Identifier: Apache-2.0
/**
 * `-o`: the comma list of the C virtiofsd, as libvirt passes it. virtiofsd still takes it, but for the locks. It wins over the
 * long options. Two commas stand for one that is part of a value.
 */
import { choice } from './values.ts'
import { CACHE_CHOICES, type CacheChoice, type FeatureMode, type LogLevel, type SandboxKind, VALUE } from './table.ts'
import { printable, UsageError } from './usage-error.ts'

/** What the list sets; undefined where it says nothing. */
export interface LegacyOptions {
  source?: string
  cache?: CacheChoice
  logLevel?: LogLevel
  sandbox?: SandboxKind
  modcaps?: string
  xattrMap?: string
  xattr?: boolean
  readdirplus?: boolean
  writeback?: boolean
  allowDirectIo?: boolean
  killprivV2?: boolean
  posixAcl?: FeatureMode
  securityLabel?: FeatureMode
  posixLocks?: boolean
  flocks?: boolean
}

const LEVELS: Readonly<Record<string, LogLevel>> = { debug: 'debug', info: 'info', warn: 'warn', err: 'error' }

type Setter = (options: LegacyOptions, value: string) => void

const WITH_VALUE: Readonly<Record<string, Setter>> = {
  source: (options, value) => {
    options.source = value
  },
  cache: (options, value) => {
    if (value === 'never') throw new Error('must be none, not never')
    options.cache = value === 'none' ? 'never' : choice(CACHE_CHOICES)(value)
  },
  loglevel: (options, value) => {
    const level = Object.hasOwn(LEVELS, value) ? LEVELS[value] : undefined
    if (level === undefined) throw new Error(`must be one of ${Object.keys(LEVELS).join(', ')}`)
    options.logLevel = level
  },
  sandbox: (options, value) => {
    options.sandbox = choice(['namespace', 'chroot'])(value)
  },
  modcaps: (options, value) => {
    options.modcaps = value
  },
  xattrmap: (options, value) => {
    options.xattrMap = VALUE.xattrMap(value)
  },
}

/** Each also with no_. */
const SWITCHES = {
  xattr: 'xattr',
  readdirplus: 'readdirplus',
  writeback: 'writeback',
  allow_direct_io: 'allowDirectIo',
  killpriv_v2: 'killprivV2',
  posix_lock: 'posixLocks',
  flock: 'flocks',
} as const

/** Likewise; what is asked for must be had. */
const FEATURES = {
  posix_acl: 'posixAcl',
  security_label: 'securityLabel',
} as const

/** The default, which does not undo --no-announce-submounts. */
const WITHOUT_EFFECT = 'announce_submounts'

/** Stands for an escaped comma while a list is split; no argument can have it. */
const COMMA = '\0'

/** @throws UsageError */
export function parseLegacy(lists: readonly string[]): LegacyOptions {
  const options: LegacyOptions = {}
  const items = lists.flatMap((list) => list.replaceAll(',,', COMMA).split(','))
  for (const item of items) parseItem(item.replaceAll(COMMA, ','), options)
  return options
}

function parseItem(item: string, options: LegacyOptions): void {
  const equals = item.indexOf('=')
  if (equals >= 0) {
    const name = item.slice(0, equals)
    const value = item.slice(equals + 1)
    const set = Object.hasOwn(WITH_VALUE, name) ? WITH_VALUE[name] : undefined
    if (set === undefined) refuse(item)
    try {
      set(options, value)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new UsageError(`invalid value "${printable(value)}" for -o ${name}: ${reason}`)
    }
    return
  }
  if (item === WITHOUT_EFFECT) return
  const positive = item.replace(/^no_/, '')
  for (const [name, key] of Object.entries(SWITCHES)) {
    if (name !== positive) continue
    options[key] = item === positive
    return
  }
  for (const [name, key] of Object.entries(FEATURES)) {
    if (name !== positive) continue
    options[key] = item === positive ? 'always' : 'never'
    return
  }
  refuse(item)
}

function refuse(item: string): never {
  throw new UsageError(`unknown option "-o ${printable(item)}"; --help lists all that -o takes`)
}
