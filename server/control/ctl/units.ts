// SPDX-License-Identifier: Apache-2.0
/** Numbers as people read them. */

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function bytes(count: number): string {
  let unit = 0
  let value = count
  while (value >= 1024 && unit < BYTES.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || Number.isInteger(value) ? value : value.toFixed(1)} ${BYTES[unit] ?? 'B'}`
}

/** @param nanoseconds up to minutes */
export function latency(nanoseconds: number): string {
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(nanoseconds < 1e4 ? 1 : 0)} us`
  return nanoseconds < 1e9
    ? `${(nanoseconds / 1e6).toFixed(nanoseconds < 1e7 ? 1 : 0)} ms`
    : `${(nanoseconds / 1e9).toFixed(1)} s`
}

export function duration(seconds: number): string {
  const days = Math.floor(seconds / 86400)
  const hours = Math.floor((seconds % 86400) / 3600)
  const minutes = Math.floor((seconds % 3600) / 60)
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`
}

/** Of what the daemon says of itself: names of files may be whatever a guest likes. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- those are meant
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
