// SPDX-License-Identifier: Apache-2.0
/** Values of options: text to typed value. Each parser throws an Error that says what is allowed, without the option's name. */
import { TAG_BYTES } from '../virtio/virtio-fs-config.ts'

export type ValueParser<T> = (text: string) => T

/** A parser that can tell what it takes. */
export type ChoiceParser<T> = ValueParser<T> & { readonly choices: readonly string[] }

/** `parse`, which takes `choices` and perhaps other names of them. */
export function withChoices<T>(choices: readonly string[], parse: ValueParser<T>): ChoiceParser<T> {
  return Object.assign((text: string) => parse(text), { choices })
}

/** One of `choices`; `caseless` where virtiofsd does not mind capitals. */
export function choice<T extends string>(choices: readonly T[], caseless = false): ChoiceParser<T> {
  return withChoices(choices, (text) => {
    const wanted = caseless ? text.toLowerCase() : text
    const found = choices.find((candidate) => candidate === wanted)
    if (found === undefined) throw new Error(`must be one of ${choices.join(', ')}`)
    return found
  })
}

/** A decimal number from `low` to `high`. */
export function wholeNumber(low: number, high: number): ValueParser<number> {
  return (text) => {
    const value = Number(text)
    if (!/^\+?\d+$/.test(text) || value < low || value > high) {
      throw new Error(`must be a whole number from ${low} to ${high}`)
    }
    return value
  }
}

const UNITS: Readonly<Record<string, number>> = { '': 0, k: 10, m: 20, g: 30, t: 40 }

/** A number of bytes, with K, M, G or T for powers of 1024. @returns NaN for anything else */
export function byteCount(text: string): number {
  const match = /^(\d+)\s*([kmgt]?)(?:i?b)?$/i.exec(text)
  const exponent = UNITS[match?.[2]?.toLowerCase() ?? '']
  return match === null || exponent === undefined ? Number.NaN : Number(match[1]) * 2 ** exponent
}

/** A DAX range of Linux. */
const MIN_WINDOW_BYTES = 2 ** 21
/** Offsets stay exact in a JavaScript number, and no BAR is larger. */
const MAX_WINDOW_BYTES = 2 ** 46

/** The size of a DAX window in bytes: a power of two from 2 MiB on. */
export function windowSize(text: string): number {
  const bytes = byteCount(text)
  const fits = Number.isSafeInteger(bytes) && bytes >= MIN_WINDOW_BYTES && bytes <= MAX_WINDOW_BYTES
  if (!fits || !Number.isInteger(Math.log2(bytes))) {
    throw new Error('must be a power of two from 2M to 64T, such as 512M, 1G or 8G')
  }
  return bytes
}

/** Where --metrics is served. */
export type MetricsAddress = { readonly path: string } | { readonly host: string; readonly port: number }

/** `HOST:PORT`, or a path, which has a slash. */
export function metricsAddress(text: string): MetricsAddress {
  if (text.includes('/')) return { path: text }
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (match === null || port === 0 || port > 65535) {
    throw new Error('must be HOST:PORT, such as 127.0.0.1:9551, or a path with a slash')
  }
  return { host: match[1] ?? match[2] ?? '', port }
}

/** A mount tag. */
export function mountTag(text: string): string {
  const length = Buffer.byteLength(text)
  if (length === 0 || length > TAG_BYTES) throw new Error(`must have 1 to ${TAG_BYTES} bytes`)
  return text
}

/** Which files of a guest that is mounted with `dax=inode` are in the window. */
export interface DaxPolicy {
  /** False: none, and the guest is not told of FUSE_ATTR_DAX. */
  readonly enabled: boolean
  /** Files from this size on. */
  readonly minSizeBytes: number
  /** Files whose data has not changed for so long. */
  readonly minAgeSeconds: number
}

const DAX_POLICY_USAGE = 'must be always, never, or SIZE[,AGE], such as 64K or 1M,10s'
const AGE_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400 }

/** `always`, `never`, or `SIZE[,AGE]`: AGE in seconds, or with s, m, h, d. */
export function daxPolicy(text: string): DaxPolicy {
  if (text === 'never') return { enabled: false, minSizeBytes: 0, minAgeSeconds: 0 }
  if (text === 'always') return { enabled: true, minSizeBytes: 0, minAgeSeconds: 0 }
  const [size = '', age = '0', ...rest] = text.split(',')
  const minSizeBytes = byteCount(size)
  const match = /^(\d{1,9})([smhd]?)$/.exec(age)
  const unit = AGE_UNITS[match?.[2] === '' ? 's' : (match?.[2] ?? '')]
  if (rest.length > 0 || !Number.isSafeInteger(minSizeBytes) || match === null || unit === undefined) {
    throw new Error(DAX_POLICY_USAGE)
  }
  return { enabled: true, minSizeBytes, minAgeSeconds: Number(match[1]) * unit }
}
